"""The quarantine in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery, StoredEntry
from dataharvest.adapters.memory_locked_repair import MemoryLockedRepair
from dataharvest.adapters.memory_sets import MemorySets
from dataharvest.deliveries import ChunkPlace, JudgedDelivery, SetKey
from dataharvest.quarantine import Entry, EntryCount, HistoryLine, Selection
from dataharvest.repairs import Repairable, not_repairable, unknown_delivery
from dataharvest.rules.versions import IN_PROGRESS


class _Undone(Exception):
    """Undoes what was only tried."""


class MemoryQuarantine:
    """The port ``Quarantine`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def counts(self, selection: Selection) -> list[EntryCount]:
        """See the port."""
        found: dict[str, EntryCount] = {}
        for one in self._selected(selection):
            about = {name: getattr(one, name) for name in ("tenant", "business_date", "entity", "rule", "state")}
            kind = str(list(about.values()))
            known = found.get(kind, EntryCount(**about, entry_count=0, record_count=0))
            counted = replace(known, entry_count=known.entry_count + 1, record_count=known.record_count + one.record_count)
            found[kind] = counted
        return [one for _, one in sorted(found.items())]

    async def entries(self, selection: Selection, *, limit: int | None = None) -> list[Entry]:
        """See the port."""
        return list(self._selected(selection))[:limit]

    async def history(self, selection: Selection, *, limit: int | None = None) -> list[HistoryLine]:
        """See the port."""
        wanted = {one.quarantine_id for one in self._selected(selection)}
        found = [one for one in self._ledger.repairs if one.quarantine_id in wanted]
        return found if limit is None else found[-limit:]

    @asynccontextmanager
    async def repair(self, delivery_id: int, *, plan: bool) -> AsyncIterator[MemoryLockedRepair]:
        """See the port."""
        row = self._row(delivery_id)
        assert row.business_date is not None and row.entity is not None
        try:
            async with MemorySets(self._ledger).locked(SetKey(row.tenant, row.business_date)) as locked_set:
                if refusal := not_repairable(delivery_id, row.entity, row.state, newer=self._newer(row)):
                    raise refusal
                locked = MemoryLockedRepair(self._ledger, row, await self.delivery(delivery_id), locked_set, self._of)
                yield locked
                if plan:
                    raise _Undone
                locked.keep()
        except _Undone:
            return

    async def delivery(self, delivery_id: int) -> Repairable:
        """See the port."""
        row = self._row(delivery_id)
        assert row.business_date is not None and row.entity is not None
        chunks = [(metadata, checked) for _, (metadata, checked) in sorted(row.chunks.items()) if not metadata.misaligned_tail]
        return Repairable(
            delivery=JudgedDelivery(
                delivery_id=delivery_id,
                tenant=row.tenant,
                business_date=row.business_date,
                entity=row.entity,
                source=row.source,
                contract_version=row.contract_version,
            ),
            chunks=[
                ChunkPlace(one.index, one.byte_offset, one.byte_length, one.first_line, bytes.fromhex(one.sha256))
                for one, _ in chunks
            ],
        )

    def _row(self, delivery_id: int) -> StoredDelivery:
        if delivery_id not in self._ledger.deliveries:
            raise unknown_delivery(delivery_id)
        return self._ledger.deliveries[delivery_id]

    def _newer(self, row: StoredDelivery) -> tuple[int, str] | None:
        counting = (IN_PROGRESS - {"waiting"}) | {"complete"}
        rivals = [
            one for one in self._ledger.deliveries.values() if (one.tenant, one.business_date) == (row.tenant, row.business_date)
        ]
        newer = [one for one in rivals if one.entity == row.entity and one.state in counting and one.order > row.order]
        found = max((one for one in newer if not one.is_broken), key=lambda one: one.order, default=None)
        return (found.delivery_id, found.state) if found else None

    def _selected(self, selection: Selection) -> Iterator[Entry]:
        wanted = {
            "tenant": selection.tenant,
            "business_date": selection.business_date,
            "entity": selection.entity,
            "rule": selection.rule,
            "state": selection.state,
            "delivery_id": selection.delivery_id,
        }
        rows = [one for one in self._ledger.deliveries.values() if one.state != "superseded" or selection.with_superseded]
        in_order = sorted(rows, key=lambda one: (one.tenant, str(one.business_date), one.entity or "", one.delivery_id))
        for entry in (entry for row in in_order for entry in self._of(row)):
            is_named = selection.ids is None or entry.quarantine_id in selection.ids
            if is_named and all(value in (None, getattr(entry, name)) for name, value in wanted.items()):
                yield entry

    def _of(self, row: StoredDelivery) -> list[Entry]:
        waiting = {
            (index, one.position): StoredEntry(one, "open", None)
            for index, (_, checked) in row.chunks.items()
            for one in checked.quarantined
        }
        return [self._entry(row, *place, one) for place, one in sorted({**waiting, **row.settled}.items())]

    def _entry(self, row: StoredDelivery, index: int, position: int, stored: StoredEntry) -> Entry:
        assert row.business_date is not None and row.entity is not None
        ids, record = self._ledger.quarantine_ids, stored.record
        number = ids.setdefault((row.delivery_id, index, position), len(ids) + 1)
        known = [one for one in self._ledger.repairs if one.quarantine_id == number and one.action != "drop"]
        last = known[-1] if known else None
        return Entry(
            quarantine_id=number,
            delivery_id=row.delivery_id,
            tenant=row.tenant,
            business_date=row.business_date,
            entity=row.entity,
            object_key=row.source.key,
            chunk_index=index,
            position=position,
            line=record.line,
            byte_offset=record.byte_offset,
            byte_length=record.byte_length,
            column=record.column,
            rule=record.rule,
            message=record.message,
            raw=record.raw,
            record_count=record.record_count,
            state=stored.state,
            natural_key=stored.natural_key,
            settled=f"{last.who} at {last.at:%F %T} UTC ({last.action})" if last else None,
            content=last.content if last else None,
        )
