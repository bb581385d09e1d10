"""Attempt: entries of one delivery that were read again, and what becomes of them once all are judged."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from dataharvest.entities import Entity, all_entities
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.ports import LockedRepair
from dataharvest.quarantine import TAIL, Entry
from dataharvest.repairs import Changes, EntryChange
from dataharvest.rules.duplicates import Copy, natural_keys
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.repairs import Candidate, Judged, Place, judge
from dataharvest.stages.records_again import RecordsAgain, missing_source


@dataclass(frozen=True, kw_only=True)
class AttemptedRepair:
    """What a repair comes to, before it is stored."""

    changes: Changes
    left: Mapping[int, str]
    """Entries that stay in quarantine, and why."""


@dataclass(kw_only=True)
class Attempt:
    """Entries of one delivery that were read again."""

    action: Literal["fix", "replay"]
    reading: RecordsAgain
    as_read: RecordsAgain
    """How the file was read when it arrived."""
    entries: list[Entry]
    selected: set[int]
    """Those that were asked for; the others are copies that are judged with them."""
    candidates: list[Candidate] = field(default_factory=list)
    copy_columns: tuple[str, ...] = ()
    contents: dict[int, bytes] = field(default_factory=dict)
    """What the entries were read as, where they are single records or tails."""
    left: dict[int, str] = field(default_factory=dict)
    further: dict[int, list[Candidate]] = field(default_factory=dict)
    """By entry that stands for many copies, every record of its chunk that may be one of them."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where rows stand in the file that were looked for."""

    @property
    def delivery_id(self) -> int:
        """The delivery."""
        return self.reading.subject.delivery.delivery_id

    @property
    def entity(self) -> Entity:
        """Its kind of file."""
        return all_entities()[self.reading.subject.delivery.entity]

    def add(self, entry: Entry, checked: CheckedChunk, content: bytes) -> None:
        """Take in what was made of an entry: all its records, or the reason why it stays."""
        if reason := _reason(entry, checked):
            self.left[entry.quarantine_id] = reason
            return
        self.contents[entry.quarantine_id] = content
        self.candidates += self._candidates(entry, checked, entry.position, entry.line)

    def add_further(self, entry: Entry, copy: Copy, checked: CheckedChunk) -> None:
        """Take in a record that may be one of those for which the entry stands."""
        found = self.further.setdefault(entry.quarantine_id, [])
        if not checked.quarantined:
            found += self._candidates(entry, checked, copy.position, copy.line)

    def _candidates(self, entry: Entry, checked: CheckedChunk, position: int, line: int) -> list[Candidate]:
        self.copy_columns = checked.copy_columns
        keyed_rows = zip(natural_keys(checked, self.entity), checked.copy_text.splitlines(keepends=True), strict=True)
        return [
            Candidate(
                quarantine_id=entry.quarantine_id,
                place=Place(entry.chunk_index, position + number),
                line=line,
                natural_key=key,
                row=row,
            )
            for number, (key, row) in enumerate(keyed_rows)
        ]

    async def judged(self, locked: LockedRepair) -> "AttemptedRepair | set[str]":
        """What the repair comes to; or natural keys of rows whose place in the file has to be known first."""
        rule = self.reading.contract.duplicate_rule(self.entity.name)
        keys = {one.natural_key for one in (*self.candidates, *chain(*self.further.values()))}
        stored = await locked.stored_keys(keys) if keys else set()
        repaired = await locked.repaired_places(stored) if stored else {}
        left, further = self._further_copies(rows=stored - repaired.keys())
        candidates = [*self.candidates, *further]
        stored &= {one.natural_key for one in candidates}
        # Where nobody wins it does not matter which of two comes first.
        places = {**(dict.fromkeys(stored, Place(0, 0)) if rule == "reject" else {}), **self.places, **repaired}
        if unknown := stored - places.keys():
            return unknown
        rows = {key: places[key] for key in stored}
        found = judge(candidates, rule=rule, rows=rows, column=self.entity.natural_key)
        return AttemptedRepair(changes=self._changes(found), left={**self.left, **left, **found.refused})

    def _further_copies(self, *, rows: Collection[str]) -> tuple[dict[int, str], list[Candidate]]:
        """Of the records that may be further copies those that are, by not being rows; all of an entry or none."""
        left: dict[int, str] = {}
        copies: list[Candidate] = []
        counts = {one.quarantine_id: one.record_count for one in self.entries}
        for quarantine_id, candidates in self.further.items():
            found = [one for one in candidates if one.natural_key not in rows]
            if len(found) == counts[quarantine_id]:
                copies += found
            else:
                left[quarantine_id] = f"it stands for {counts[quarantine_id]:,} records, and {len(found):,} were found"
        return left, copies

    async def locate(self, keys: set[str]) -> None:
        """Find out where these rows stand in the file.

        Raises:
            Rejected: the file can't be read any more, or the row is not in it.
        """
        rule = self.as_read.contract.duplicate_rule(self.entity.name)
        try:
            self.places |= await self.as_read.places_of(keys, rule=rule)
        except ObjectTrouble as trouble:
            raise missing_source(trouble, self.entries[0]) from trouble
        if missing := keys - self.places.keys():
            message = (
                f"{len(missing)} records have a {self.entity.natural_key} that is stored already, nobody knows from which line."
            )
            raise Rejected(message, rule="unknown_place")

    def _changes(self, found: Judged) -> Changes:
        kept, dropped = _by_entry(found.kept), _by_entry(found.dropped)
        changed = [one for one in self.entries if one.quarantine_id in {**kept, **dropped}]
        return Changes(
            entries=[self._change(one, kept.get(one.quarantine_id, []), dropped.get(one.quarantine_id, [])) for one in changed],
            copy_columns=self.copy_columns,
            rows=[(one.place.chunk_index, one.row) for one in found.kept],
            replaced=found.replaced,
            action=self.action,
            contract_version=self.reading.contract_version,
        )

    def _change(self, entry: Entry, kept: Sequence[Candidate], dropped: Sequence[Candidate]) -> EntryChange:
        is_one_row = len(kept) == 1 and not dropped and not entry.stands_for_many
        return EntryChange(
            entry=entry,
            state="fixed",
            persisted_count=len(kept),
            duplicate_count=len(dropped),
            content=self.contents.get(entry.quarantine_id),
            natural_key=kept[0].natural_key if is_one_row else None,
        )


def _reason(entry: Entry, checked: CheckedChunk) -> str | None:
    if checked.quarantined:
        first = checked.quarantined[0]
        record = f"record {first.position + 1}: " if entry.rule == TAIL else ""
        return f"{record}{f'column {first.column}, ' if first.column else ''}rule {first.rule}: {first.message}"
    if checked.persisted_count == 0:
        return "there is no record: `dataharvest quarantine accept` leaves it out"
    if checked.persisted_count > 1 and entry.rule != TAIL:
        return f"one record is needed, and here are {checked.persisted_count}"
    return None


def _by_entry(candidates: Iterable[Candidate]) -> dict[int, list[Candidate]]:
    found: dict[int, list[Candidate]] = {}
    for one in candidates:
        found.setdefault(one.quarantine_id, []).append(one)
    return found
