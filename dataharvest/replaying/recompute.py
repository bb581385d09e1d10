"""Past sets once more, after a transformer's logic has changed: which ones, what would change, and the version that does it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, EditionRaised
from dataharvest.outbound import OutboundMessage
from dataharvest.ports import Sender, Sets, Work
from dataharvest.quarantine import Signature
from dataharvest.transformers import Transformer


class ComputedSet(NamedTuple):
    """The newest version of a set, as far as one transformer goes."""

    key: SetKey
    version: int
    state: str
    is_due: bool
    """Whether the set has changed since and a newer version is about to be made."""
    logic_versions: tuple[int, ...]
    """Versions of the logic that its values come from; none where the transformer gave no value, or did not run."""
    batch_count: int
    """0 when the transformer did not run: it is newer than the version."""


class Recomputed(NamedTuple):
    """A set that somebody had computed again."""

    key: SetKey
    transformer: str
    logic_version: int
    version: int | None
    """What came of it; None until it is made."""
    by: Signature
    at: datetime


class ComputedSets(Protocol):
    """Sets and the logic that computed them."""

    async def find(self, transformer: str, *, tenant: str | None, day: date | None) -> list[ComputedSet]:
        """The sets with a version, in order; of tenant and date None stands for any."""

    async def history(self, transformer: str | None, *, tenant: str | None, day: date | None, limit: int) -> list[Recomputed]:
        """What was computed again, in order, the newest of it; None stands for any."""


class Forecast(NamedTuple):
    """What computing a set again would change."""

    value_count: int
    """Clients or portfolios that have a value, now or then."""
    changed: tuple[str, ...]
    """References of those whose value would be another, in order."""
    messages: Mapping[str, int]
    """How many messages of each topic would be published again."""


def reason_to_leave(one: ComputedSet, *, transformer: Transformer, even_if_same: bool) -> str | None:
    """Why the set is not computed again; None when it is."""
    if one.is_due:
        return "a new version is about to be made already"
    if one.state == "blocked":
        return f"version {one.version} is blocked; its next one is computed by the new logic anyway"
    if one.state == "cancelled":
        return f"version {one.version} was cancelled; its next one is computed by the new logic anyway"
    if one.state == "open" and not one.logic_versions:
        return f"version {one.version} is being computed now"
    is_same = one.batch_count > 0 and set(one.logic_versions) <= {transformer.logic_version}
    if is_same and not even_if_same:
        return f"computed by version {transformer.logic_version} of the logic already"
    return None


async def foretell(one: ComputedSet, *, transformer: Transformer, outbound: Iterable[OutboundMessage], work: Work) -> Forecast:
    """Compute the set's values here, compare them with those stored, and store nothing."""
    changed: dict[str, set[str]] = {}
    value_count = 0
    for index in range(one.batch_count):
        named = {"tenant": one.key.tenant, "business_date": one.key.business_date, "version": one.version}
        batch = Batch(**named, rule=transformer.name, batch=index, batch_count=one.batch_count)
        async with work.open_batch(batch) as locked:
            if locked is not None:
                old = await locked.values({transformer.name: tuple(transformer.values)})
                new = transformer.compute(**await locked.frames(transformer.reads, per=transformer.per))
                before, after = _by_reference(old.to_dicts()), _by_reference(new.to_dicts())
                value_count += len(before.keys() | after.keys())
                changed.update(changed_fields(before, after, names=tuple(transformer.values)))
    return Forecast(value_count, tuple(sorted(changed)), _messages(changed, transformer, outbound))


def changed_fields(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], *, names: Iterable[str]
) -> dict[str, set[str]]:
    """Names of the values that differ, by reference; all of them where one side has none."""
    fields = tuple(names)
    found = {}
    for reference in before.keys() | after.keys():
        old, new = before.get(reference, {}), after.get(reference, {})
        differing = {name for name in fields if (name in old) != (name in new) or old.get(name) != new.get(name)}
        if differing:
            found[reference] = differing
    return found


def _by_reference(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row["reference"]: row for row in rows}


def _messages(changed: Mapping[str, set[str]], transformer: Transformer, outbound: Iterable[OutboundMessage]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for message in outbound:
        taken = set(message.takes.get(transformer.name, ()))
        if taken:
            counts[message.topic] = sum(bool(taken & fields) for fields in changed.values())
    return dict(counts)


async def compute_again(one: ComputedSet, *, transformer: Transformer, by: Signature, sets: Sets, sender: Sender) -> None:
    """Make a new version of the set due, and tell it so; what comes out unchanged is not published.

    Should the program end before the set is told, the sweep finds it.

    Raises:
        Rejected: rule ``set_is_publishing``, or ``set_changed`` when it has a newer version since it was looked at.
    """
    async with sets.locked(one.key) as locked:
        view = await locked.view()
        newest = view.versions[-1]
        if newest.version != one.version or newest.edition != view.edition:
            whose = f"{one.key.tenant}'s set of {one.key.business_date}"
            raise Rejected(f"{whose} has changed meanwhile: look at it again", rule="set_changed")
        edition = await locked.raise_edition()
        await locked.note_recompute(transformer.name, logic_version=transformer.logic_version, by=by)
    fact = EditionRaised(tenant=one.key.tenant, business_date=one.key.business_date, edition=edition)
    await sender.send("progress", key=fact.key, value=fact.encode())
