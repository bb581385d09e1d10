"""Whether what was stored is what the sender says was sent, to the last record and the last cent.

``records`` is compared with the records read, whatever became of them, for the sender counts the lines of the file.
``sums`` are compared with the rows stored: a record that was quarantined, dropped as a duplicate or left out on purpose
is in none of them. Where there are such records, the sentence about a sum says how many.

With ``sha256`` an entity's totals belong to one content: for a delivery of other bytes that alone is the difference, and
the other totals are not compared. Without it they hold for whichever delivery is the newest.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal, NamedTuple

from dataharvest.rules.manifest import EntityTotals, Manifest
from dataharvest.rules.money import money_text

ManifestRule = Literal["none", "optional", "required"]
Verdict = Literal["ok", "waits", "blocked", "disputed"]

_SHOWN_DIFFERENCES = 5
_FIGURES = ("expected", "found", "difference")

# The default context rounds to 28 digits without a word; this one would rather fail than round.
_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum with every digit, in any order the same; 0 of nothing."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def exact_difference(found: Decimal, expected: Decimal) -> Decimal:
    """``found`` less ``expected`` with every digit."""
    return _EXACT.subtract(found, expected)


@dataclass(frozen=True, kw_only=True)
class DeliveryTotals:
    """What is known of one complete delivery."""

    delivery_id: int
    entity: str
    records: int
    """Records read."""
    sums: Mapping[str, Decimal]
    """Exact sums of the rows stored, by money column."""
    object_sha256: str | None = None
    """In hexadecimal; None where the object's own bytes were not hashed."""
    content_sha256: str | None = None
    left_out: int = 0
    """Records that are no rows: quarantined, duplicate, or accepted as missing."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two figures that should be equal and are not, or two texts."""

    entity: str
    """Entity, or what else the figures are about: a transformer, an outbound topic."""
    what: str
    expected: Decimal | int | str
    found: Decimal | int | str
    note: str = ""

    @property
    def difference(self) -> Decimal | int | None:
        """``found`` less ``expected``; None between texts."""
        if isinstance(self.found, Decimal) and isinstance(self.expected, Decimal):
            return exact_difference(self.found, self.expected)
        if isinstance(self.found, int) and isinstance(self.expected, int):
            return self.found - self.expected
        return None

    @property
    def sentence(self) -> str:
        """For a person: what, expected, found and difference."""
        by = "" if self.difference is None else f", difference {figure_text(self.difference)}"
        note = f" ({self.note})" if self.note else ""
        expected, found = figure_text(self.expected), figure_text(self.found)
        return f"{self.entity}: {self.what} is {expected} expected, {found} found{by}{note}"


def figure_text(figure: Decimal | int | str | None) -> str:
    """Money with at least two decimals and all its digits, anything else as it is; nothing for None."""
    if figure is None:
        return ""
    return money_text(figure) if isinstance(figure, Decimal) else str(figure)


def differences(manifest: Manifest, totals: Mapping[str, DeliveryTotals]) -> list[Difference]:
    """Where the newest complete deliveries, by entity, are not what the manifest says; in its order.

    An entity whose file is not here yet is no difference: the set waits for it anyway.
    """
    named = manifest.entities.items()
    return [one for entity, expected in named if entity in totals for one in _entity_differences(expected, totals[entity])]


def verdict(rule: ManifestRule, manifest: Manifest | None, found: Sequence[Difference], *, published: bool) -> Verdict:
    """What the control totals mean for a set.

    ``waits``: the manifest is required and absent. ``blocked``: nothing is published before file or manifest is corrected.
    ``disputed``: the same, but a version is out, and it stands.
    """
    if rule == "none":
        return "ok"
    if manifest is None:
        return "waits" if rule == "required" else "ok"
    if not found:
        return "ok"
    return "disputed" if published else "blocked"


def problem_of(means: Verdict, found: Sequence[Difference], *, deliveries: Mapping[str, int]) -> dict[str, Any] | None:
    """What is stored of a set that may not go on with these deliveries, by entity, as plain JSON; None when it may."""
    if means == "ok":
        return None
    if means == "waits":
        message = "the contract requires a manifest, and none that can be used has arrived"
        return {"rule": "manifest_required", "state": means, "message": message, "deliveries": dict(deliveries)}
    said = [one.sentence for one in found]
    more = f"; and {len(said) - _SHOWN_DIFFERENCES:,} more" if len(said) > _SHOWN_DIFFERENCES else ""
    stored = [
        {"entity": one.entity, "what": one.what} | {name: figure_text(getattr(one, name)) for name in _FIGURES} for one in found
    ]
    message = "; ".join(said[:_SHOWN_DIFFERENCES]) + more
    about = {"rule": "control_totals", "state": means, "message": message, "deliveries": dict(deliveries)}
    return {**about, "differences": stored}


def unusable_manifest(reason: str, *, published: bool, deliveries: Mapping[str, int]) -> dict[str, Any]:
    """What is stored of a set whose control totals are known to be there and can't be told."""
    message = f"{reason}; a manifest that is uploaded again replaces it"
    state: Verdict = "disputed" if published else "blocked"
    return {"rule": "stored_manifest", "state": state, "message": message, "deliveries": dict(deliveries)}


class Agreement(NamedTuple):
    """What the control totals let a set do."""

    may_go_on: bool
    is_vouched_for: bool
    """The manifest names every file of the set and means just these: no further file has to be waited for."""
    problem: Mapping[str, Any] | None = None
    """Why it may not go on."""


def agreement(
    problem: Mapping[str, Any] | None, manifest: Manifest | None, complete: Collection[str], *, is_last: bool = False
) -> Agreement:
    """What a set with this problem, if any, may do while these entities have complete deliveries.

    Args:
        problem: what is wrong with the control totals.
        manifest: the newest one.
        complete: entities with a complete delivery.
        is_last: whether the manifest came after every file. One that came before may be about older files: counts and sums
            agree with any correction that leaves them as they were, and only hashes tell that all corrected files are there.
    """
    named = manifest.entities if manifest else {}
    is_about_these = is_last or all(one.sha256 is not None for one in named.values())
    is_vouched_for = problem is None and bool(named) and set(named) == set(complete) and is_about_these
    return Agreement(may_go_on=problem is None, is_vouched_for=is_vouched_for, problem=problem)


def _entity_differences(expected: EntityTotals, found: DeliveryTotals) -> Iterator[Difference]:
    entity = found.entity
    if expected.sha256 is not None and expected.sha256 not in (found.object_sha256, found.content_sha256):
        content = found.content_sha256 or found.object_sha256 or "not known"
        yield Difference(
            entity=entity, what="sha256", expected=expected.sha256, found=content, note=f"delivery {found.delivery_id}"
        )
        return
    if expected.records is not None and expected.records != found.records:
        yield Difference(entity=entity, what="records", expected=expected.records, found=found.records)
    note = _left_out(found.left_out)
    for column, amount in expected.sums.items():
        stored = found.sums.get(column, Decimal(0))
        if stored != amount:
            yield Difference(entity=entity, what=f"sum of {column}", expected=amount, found=stored, note=note)


def _left_out(count: int) -> str:
    if not count:
        return ""
    return f"{count:,} {'record of the file is' if count == 1 else 'records of the file are'} not among the rows"
