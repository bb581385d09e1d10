"""What a repair came to, and why one is refused."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.ports import LockedRepair
from dataharvest.quarantine import Entry
from dataharvest.stages.attempt import Attempt

_NAMED_PROBLEMS = 10

Result = Literal["fixed", "duplicate", "accepted", "unchanged", "left"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one entry."""

    entry: Entry
    result: Result
    message: str = ""


@dataclass(kw_only=True)
class Report:
    """What a repair came to."""

    outcomes: list[Outcome] = field(default_factory=list)
    editions: dict[SetKey, int] = field(default_factory=dict)
    """Sets that changed, with their new edition; a version of each is due."""
    refused: list[str] = field(default_factory=list)
    """Why nothing was changed in one of several deliveries."""
    is_told: bool = True
    """Whether the workers know; otherwise a sweep finds out."""


@contextmanager
def refusals(report: Report, *, is_only_one: bool) -> Iterator[None]:
    """Note a refusal of what is done in the block; or let it through, where nothing else is done."""
    try:
        yield
    except Rejected as reason:
        if is_only_one:
            raise
        report.refused.append(reason.message)


def by_delivery(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each delivery, in order of place."""
    in_turn = sorted(entries, key=lambda one: (one.delivery_id, one.place))
    return [list(group) for _, group in groupby(in_turn, key=lambda one: one.delivery_id)]


def require_known(ids: Mapping[int, bytes] | Sequence[int], found: Sequence[Entry]) -> None:
    """Raise Rejected unless every one of these entries was found."""
    missing = sorted(set(ids) - {one.quarantine_id for one in found})
    if missing:
        named = ", ".join(map(str, missing[:10]))
        raise Rejected(f"There is no entry {named} in the quarantine.", rule="no_such_entry")


async def require_open(locked: LockedRepair, expected: Sequence[Entry]) -> None:
    """Raise Rejected if somebody has fixed or accepted one of the entries meanwhile."""
    now = await locked.entries([one.quarantine_id for one in expected])
    for one in expected:
        found = now.get(one.quarantine_id)
        if found is None or found.state != "open":
            raise settled_already(found or one)


def unchanged_fixes(settled: Sequence[Entry], contents: Mapping[int, bytes]) -> list[Outcome]:
    """Entries that are fixed to just these contents; Rejected when one was settled in another way."""
    for one in settled:
        if one.state != "fixed" or one.content != contents[one.quarantine_id]:
            raise settled_already(one)
    return [unchanged(one) for one in settled]


def unchanged(entry: Entry) -> Outcome:
    """An entry that stays what it was made before."""
    return Outcome(entry=entry, result="unchanged", message=f"{entry.state} by {entry.settled}")


def settled_already(entry: Entry) -> Rejected:
    """Why an entry that is not open can't be changed."""
    message = (
        f"Entry {entry.quarantine_id} ({entry.entity}, line {entry.line}) is {entry.state} by {entry.settled}: "
        f"nothing was changed; `dataharvest quarantine history {entry.quarantine_id}` has the whole story."
    )
    return Rejected(message, rule="settled")


def bad_correction(attempt: Attempt, left: Mapping[int, str]) -> Rejected:
    """Why records that were given for entries can't be taken."""
    said = [f"entry {one.quarantine_id}: {left[one.quarantine_id]}" for one in attempt.entries if one.quarantine_id in left]
    more = f"; and {len(said) - _NAMED_PROBLEMS:,} more" if len(said) > _NAMED_PROBLEMS else ""
    return Rejected(f"Nothing was changed: {'; '.join(said[:_NAMED_PROBLEMS])}{more}", rule="bad_correction")
