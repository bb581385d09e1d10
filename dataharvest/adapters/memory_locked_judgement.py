"""A delivery under judgement in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from dataharvest.adapters.memory_frames import frame_of, rows_of
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.entities import Kind, all_entities
from dataharvest.rules.duplicates import LISTED_COPIES, LISTED_KEYS, Copy, further_copies, natural_keys, quarantined_copy
from dataharvest.rules.records import CheckedChunk, QuarantinedRecord
from dataharvest.rules.tiling import ConservationBroken, LedgerRow, totals_of

Spot = tuple[int, int]
"""Chunk, and number of the row within it."""


class MemoryLockedJudgement:
    """A delivery under judgement; nothing of it changes before it is complete."""

    def __init__(self, ledger: MemoryLedger, row: StoredDelivery, *, hashing: Callable[[str], object], slice_rows: int) -> None:
        assert row.entity is not None and row.business_date is not None
        self._ledger = ledger
        self._row = row
        self._hashing = hashing
        self._slice_rows = slice_rows
        self.counted_rows = row.counted_rows
        self.are_copies_decided = row.are_copies_decided
        self._rule: DuplicateRule = "reject"
        self._spots: dict[str, list[Spot]] = {}
        self._listed: set[str] = set()
        self.copies: dict[int, list[Copy]] = dict(row.copies)
        """Those that were read again, by chunk."""
        self.subject = JudgedDelivery(
            delivery_id=row.delivery_id,
            tenant=row.tenant,
            business_date=row.business_date,
            entity=row.entity,
            source=row.source,
            contract_version=row.contract_version,
        )

    async def count_next(self) -> bool:
        """See the port."""
        count = self._row.persisted_count
        # Where there may be copies, as many steps again look for them.
        if not self._is_large or self.counted_rows >= count * (2 if self._has_suspects() else 1):
            return True
        self.counted_rows += self._slice_rows
        return False

    @property
    def _is_large(self) -> bool:
        return self._row.persisted_count > self._slice_rows

    def _has_suspects(self) -> bool:
        entity = all_entities()[self.subject.entity]
        keys = [key for _, checked in self._row.chunks.values() for key in natural_keys(checked, entity)]
        return len(set(map(self._hashing, keys))) < len(keys)

    async def weigh(self) -> bool:
        """See the port."""
        found: dict[str, list[Spot]] = {}
        for index, (_, checked) in sorted(self._row.chunks.items()):
            keys = natural_keys(checked, all_entities()[self.subject.entity])
            if len(keys) != checked.persisted_count:
                raise ConservationBroken(f"{len(keys)} rows are there, {checked.persisted_count} in the ledger")
            for number, key in enumerate(keys):
                found.setdefault(key, []).append((index, number))
        self._spots = {key: spots for key, spots in found.items() if len(spots) > 1}
        return self._has_suspects()

    async def find_duplicates(self, rule: DuplicateRule, *, at_most: int | None = None) -> list[ChunkPlace] | None:
        """See the port."""
        self._rule = rule
        self._listed = set(sorted(self._spots, key=lambda key: (self._spots[key][0][0], key))[:LISTED_KEYS])
        wanted = {index for key in self._listed for index, _ in self._spots[key][:LISTED_COPIES]}
        wanted |= {index for key in self._spots if (index := self._ambiguous_in(key)) is not None}
        if self._is_large and not self.are_copies_decided:
            self.are_copies_decided = True
            return None
        wanted -= self.copies.keys()
        places = [metadata for index, (metadata, _) in sorted(self._row.chunks.items()) if index in wanted][:at_most]
        return [
            ChunkPlace(one.index, one.byte_offset, one.byte_length, one.first_line, bytes.fromhex(one.sha256)) for one in places
        ]

    async def keys_in(self, index: int) -> set[str]:
        """See the port."""
        listed = {key for key in self._listed if index in {chunk for chunk, _ in self._spots[key][:LISTED_COPIES]}}
        return listed | {key for key in self._spots if self._ambiguous_in(key) == index}

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """See the port."""
        self.copies[index] = list(copies)

    async def remove_next(self) -> bool:
        """See the port; all goes when the delivery is complete."""
        return True

    async def complete(self) -> str:
        """See the port."""
        fates = {spot: fate for key in self._spots for spot, fate in self._fates(key)}
        chunks = {index: (metadata, self._left(index, checked, fates)) for index, (metadata, checked) in self._row.chunks.items()}
        dropped = Counter(index for (index, _), fate in fates.items() if fate == "duplicate")
        judged = replace(self._row, chunks=chunks, duplicates=dict(dropped))
        require_conservation(judged)
        self._row.chunks, self._row.duplicates, self._row.sums = chunks, dict(dropped), sums_of(judged)
        self._row.duplicate_lines = {key: self._lines(key) for key in self._listed}
        self._row.state = "superseded" if self._ledger.is_overtaken(self._row) else "complete"
        return self._row.state

    def _winner(self, key: str) -> Spot | None:
        return None if self._rule == "reject" else self._spots[key][0 if self._rule == "first_wins" else -1]

    def _ambiguous_in(self, key: str) -> int | None:
        winner = self._winner(key)
        return winner[0] if winner and sum(index == winner[0] for index, _ in self._spots[key]) > 1 else None

    def _fates(self, key: str) -> list[tuple[Spot, str]]:
        winner, ambiguous = self._winner(key), self._ambiguous_in(key)
        is_unsettled = ambiguous is not None and ambiguous not in self.copies
        fates = []
        for spot in self._spots[key]:
            if winner is None or (is_unsettled and spot[0] == ambiguous):
                fates.append((spot, "quarantine"))
            elif spot != winner:
                fates.append((spot, "duplicate"))
        return fates

    def _left(self, index: int, checked: CheckedChunk, fates: dict[Spot, str]) -> CheckedChunk:
        lines = checked.copy_text.splitlines(keepends=True)
        kept = [line for number, line in enumerate(lines) if (index, number) not in fates]
        here = ((key, spot) for key, spots in self._spots.items() for spot in spots if spot[0] == index)
        held = Counter(key for key, spot in here if fates.get(spot) == "quarantine")
        return replace(
            checked,
            copy_text=b"".join(kept),
            persisted_count=len(kept),
            quarantined=(*checked.quarantined, *self._entries(index, held)),
        )

    def _entries(self, index: int, held: Counter[str]) -> list[QuarantinedRecord]:
        column = all_entities()[self.subject.entity].natural_key
        entries = []
        for one in self.copies.get(index, ()):
            key = one.natural_key
            if key in self._listed and held[key] and one.line in self._lines(key):
                count = len(self._spots[key])
                entries.append(quarantined_copy(one, column=column, record_count=count, lines=self._lines(key)))
        entries = entries[: held.total()]
        if (further := held.total() - len(entries)) > 0:
            metadata, _ = self._row.chunks[index]
            place = {name: getattr(metadata, name) for name in ("first_line", "byte_offset", "byte_length")}
            entries.append(further_copies(further, column=column, **place))
        return entries

    def _lines(self, key: str) -> list[int]:
        found = [one.line for _, copies in sorted(self.copies.items()) for one in copies if one.natural_key == key]
        return found[:LISTED_COPIES]


def require_conservation(row: StoredDelivery) -> None:
    """Raise ConservationBroken unless the chunks tile the content and every record is accounted for."""
    assert row.sealing is not None
    ledger = [
        LedgerRow(
            metadata.byte_offset,
            metadata.byte_length,
            checked.record_count,
            checked.persisted_count,
            sum(one.record_count for one in checked.quarantined),
            row.duplicates.get(index, 0),
            row.accepted.get(index, 0),
        )
        for index, (metadata, checked) in sorted(row.chunks.items())
    ]
    totals_of(ledger, start=row.sealing.content_start, end=row.sealing.content_end)


def sums_of(row: StoredDelivery) -> dict[str, str]:
    """Exact sums of the money columns of its rows."""
    assert row.entity is not None
    money = tuple(one.name for one in all_entities()[row.entity].columns if one.kind is Kind.MONEY)
    frame = frame_of(row.entity, money, rows_of(row))
    return {name: str(sum(frame[name].to_list(), Decimal(0))) for name in money}
