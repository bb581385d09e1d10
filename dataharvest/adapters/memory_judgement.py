"""Judgements and removals in memory: the fakes of their ports, under the same contract as PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.adapters.memory_locked_judgement import MemoryLockedJudgement, require_conservation
from dataharvest.deliveries import Sealing, SetKey
from dataharvest.messages import Judgement
from dataharvest.ports import LockedSet
from dataharvest.rules.tiling import ConservationBroken


class MemoryJudgements:
    """The port ``Judgements`` without a server."""

    def __init__(self, ledger: MemoryLedger, *, hashing: Callable[[str], object] = str, slice_rows: int = 1_000_000) -> None:
        self._ledger = ledger
        self._slice_rows = slice_rows
        self._rows = ledger.deliveries
        self._hashing = hashing

    async def begin(self, delivery_id: int) -> str:
        """See the port."""
        row = self._rows.get(delivery_id)
        if row is None:
            return "unknown"
        if row.state == "sealed" and row.sealing and len(row.chunks) == row.sealing.chunk_count:
            try:
                require_conservation(row)
            except ConservationBroken as broken:
                await self.note_broken(delivery_id, str(broken))
                return "broken"
            row.state, row.judgement_is_sent, row.failure = "judging", False, None
        return row.state

    async def begin_small(self, delivery_id: int, *, at_most: int) -> bool:
        """See the port."""
        row = self._rows.get(delivery_id)
        if row is None or row.state != "sealed" or row.sealing is None or row.sealing.chunk_count != 1 or len(row.chunks) != 1:
            return False
        [(metadata, checked)] = row.chunks.values()
        is_whole = (metadata.byte_offset, metadata.byte_offset + metadata.byte_length) == _span(row.sealing)
        return is_whole and checked.record_count <= at_most and await self.begin(delivery_id) == "judging"

    async def is_going_on(self, delivery_id: int) -> bool:
        """See the port."""
        row = self._rows.get(delivery_id)
        return row is not None and row.state == "judging"

    async def unsent(self, key: SetKey) -> list[Judgement]:
        """See the port."""
        return [_message(one) for one in self._waiting() if (one.tenant, one.business_date) == key and not one.judgement_is_sent]

    async def overdue(self, *, age_s: float) -> list[Judgement]:
        """See the port; nothing is too young."""
        return [_message(one) for one in self._waiting() if not one.is_broken]

    def _waiting(self) -> list[StoredDelivery]:
        dead = self._ledger.dead_judgements
        return [one for one in self._rows.values() if one.state == "judging" and one.delivery_id not in dead]

    async def mark_sent(self, delivery_id: int) -> None:
        """See the port."""
        self._rows[delivery_id].judgement_is_sent = True

    @asynccontextmanager
    async def open(self, delivery_id: int, *, within: LockedSet | None = None) -> AsyncIterator[MemoryLockedJudgement | None]:
        """See the port; nothing else runs while a test awaits it, whether the set is locked or not."""
        row = self._rows.get(delivery_id)
        if row is None or row.state != "judging":
            yield None
            return
        judgement = MemoryLockedJudgement(self._ledger, row, hashing=self._hashing, slice_rows=self._slice_rows)
        yield judgement
        row.counted_rows, row.copies = judgement.counted_rows, judgement.copies
        row.are_copies_decided = judgement.are_copies_decided
        if row.state != "judging":
            _forget(row)

    async def forget_concluded(self) -> int:
        """See the port."""
        done = [
            row for row in self._rows.values() if row.state != "judging" or (row.is_broken and self._ledger.is_overtaken(row))
        ]
        return sum(_forget(row) for row in done)

    async def note_waiting(self, delivery_id: int, failure: Mapping[str, Any]) -> None:
        """See the port."""
        row = self._rows[delivery_id]
        if row.state == "judging":
            row.failure, row.judgement_is_sent = dict(failure), True

    async def note_broken(self, delivery_id: int, message: str) -> None:
        """See the port."""
        self._rows[delivery_id].failure = {"rule": "conservation", "message": message}


class MemoryRemovals:
    """The port ``Removals`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def due(self, key: SetKey | None = None) -> list[int]:
        """See the port."""
        rows = self._ledger.deliveries.values()
        of_set = [one for one in rows if key is None or (one.tenant, one.business_date) == key]
        return [one.delivery_id for one in of_set if self._is_due(one)]

    async def remove(self, delivery_id: int) -> bool:
        """See the port."""
        row = self._ledger.deliveries[delivery_id]
        if not self._is_due(row):
            return False
        row.is_removed = True
        for version in self._ledger.all_versions():
            if delivery_id in version.deliveries.values() and version.state == "cancelled":
                version.links.clear()
                version.values.clear()
        return True

    def _is_due(self, row: StoredDelivery) -> bool:
        if not row.has_unneeded_rows:
            return False
        counting = [one for one in self._ledger.all_versions() if one.state in ("open", "blocked")]
        needed = [one for found in counting for one in (found, self._ledger.base_of(found)) if one is not None]
        return not any(row.delivery_id in one.deliveries.values() for one in needed)


def _span(sealing: Sealing) -> tuple[int, int]:
    return sealing.content_start, sealing.content_end


def _forget(row: StoredDelivery) -> bool:
    """Forget what was kept between steps; whether there was anything."""
    was_kept = bool(row.counted_rows or row.copies)
    row.counted_rows, row.are_copies_decided, row.copies = 0, False, {}
    return was_kept


def _message(row: StoredDelivery) -> Judgement:
    assert row.business_date is not None and row.entity is not None
    return Judgement(tenant=row.tenant, business_date=row.business_date, delivery_id=row.delivery_id, entity=row.entity)
