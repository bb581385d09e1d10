"""Which repaired records become rows, once those are judged that share a natural key with each other or with a row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dataharvest.contracts.vocabulary import DuplicateRule


class Place(NamedTuple):
    """Where a record stands in its file; records come in this order."""

    chunk_index: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A record of the quarantine that breaks no rule any more."""

    quarantine_id: int
    place: Place
    line: int
    natural_key: str
    row: bytes
    """As COPY takes it, with its line feed."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What becomes of candidates."""

    kept: Sequence[Candidate] = ()
    dropped: Sequence[Candidate] = ()
    """Another record with the same natural key counts."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Entries that stay in quarantine, and why."""
    replaced: Mapping[str, Place] = field(default_factory=dict)
    """Rows that a candidate replaces."""


def judge(candidates: Sequence[Candidate], *, rule: DuplicateRule, rows: Mapping[str, Place], column: str) -> Judged:
    """Apply the contract's rule for duplicates to repaired records as to any others.

    Args:
        candidates: records that may become rows.
        rule: ``reject`` leaves every candidate in quarantine that shares its key; the others let the first or last of the
            file count, be it a candidate or a row.
        rows: natural keys of the candidates that are rows already, and where those stand in the file.
        column: name of the natural key.
    """
    by_key: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_key.setdefault(one.natural_key, []).append(one)
    if rule == "reject":
        return _rejected(candidates, by_key, rows, column)
    choose = min if rule == "first_wins" else max
    winners = {key: choose(found, key=lambda one: one.place) for key, found in by_key.items()}
    winning = {key: one for key, one in winners.items() if key not in rows or choose(rows[key], one.place) == one.place}
    kept = [one for one in candidates if winning.get(one.natural_key) is one]
    return Judged(
        kept=kept,
        dropped=[one for one in candidates if winning.get(one.natural_key) is not one],
        replaced={one.natural_key: rows[one.natural_key] for one in kept if one.natural_key in rows},
    )


def _rejected(
    candidates: Iterable[Candidate], by_key: Mapping[str, Sequence[Candidate]], rows: Mapping[str, Place], column: str
) -> Judged:
    refused: dict[int, str] = {}
    for key, found in by_key.items():
        for one in found:
            if key in rows:
                refused[one.quarantine_id] = f"another record of this file with the same {column} is stored already"
            elif len(found) > 1:
                lines = ", ".join(str(other.line) for other in found if other is not one)
                refused[one.quarantine_id] = f"it has the same {column} as the record of line {lines}"
    # All records of an entry, or none: half a tail would be neither in quarantine nor repaired.
    return Judged(kept=[one for one in candidates if one.quarantine_id not in refused], refused=refused)
