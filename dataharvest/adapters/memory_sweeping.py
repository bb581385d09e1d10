"""What a sweep looks at, kept in memory: the fakes of its ports. Nothing is too young to be overdue, unless a test says so."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredBatch, StoredDelivery, StoredVersion
from dataharvest.deliveries import Announcement, Lease, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import Note
from dataharvest.sweeping import Due, Gap, SentBatch


@dataclass
class MemoryConsumption:
    """The port ``Consumption`` without a broker."""

    everything_was_read: bool = True

    async def have_passed(self, topic: str, offsets: Mapping[int, int]) -> bool:
        """See the port."""
        return self.everything_was_read or not offsets


@dataclass
class MemorySweepState:
    """The port ``SweepState`` without a server."""

    ledger: MemoryLedger
    lease_of: Callable[[StoredDelivery], Lease]
    dues: list[Due] = field(default_factory=list)
    moment: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    _taken: bool = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """See the port."""
        mine, self._taken = not self._taken, True
        try:
            yield mine
        finally:
            self._taken = not mine

    async def now(self) -> datetime:
        """See the port."""
        return self.moment

    async def wake_for_unread(self) -> int:
        """See the port."""
        rows = self.ledger.deliveries.values()
        waiting = [row for row in rows if row.state in ("registered", "waiting", "splitting") and not row.leased_until]
        unread = [row for row in waiting if row.tenant not in self.ledger.paused and row.next_try_at <= time.monotonic()]
        if unread:
            for woken in self.ledger.wake_ups:
                woken.set()
        return len(unread)

    async def overdue_readiness(self) -> list[SetKey]:
        """See the port."""
        versions = self.ledger.versions.items()
        return [key for key, found in versions if any(not sent for one in found for sent in one.readiness.values())]

    async def unplanned_rules(self) -> list[RuleReady]:
        """See the port."""
        return [
            RuleReady(tenant=key.tenant, business_date=key.business_date, version=one.version, rule=rule)
            for key, one in self._open()
            for rule, sent in one.readiness.items()
            if sent and rule not in one.batches
        ]

    async def tenants_with_overdue_batches(self) -> list[str]:
        """See the port."""
        return sorted({batch.tenant for batch, one in self._batches() if not one.is_sent})

    async def silent_batches(self) -> list[SentBatch]:
        """See the port."""
        return [
            SentBatch(batch, one.position)
            for batch, one in self._batches()
            if one.is_sent and not one.is_done and one.position not in self.ledger.dead_work
        ]

    async def unsent_outbound(self) -> list[Batch]:
        """See the port."""
        return [
            _batch(key, one, rule, batch)
            for key, versions in self.ledger.versions.items()
            for one in versions
            if one.state == "published"
            for rule, batches in one.batches.items()
            if rule.startswith("outbound.")
            for batch in batches
            if batch.is_sent and batch.is_computed and not batch.is_done and batch.position not in self.ledger.dead_work
        ]

    async def untold_rules(self, rules: Iterable[Rule]) -> list[Batch]:
        """See the port."""
        provided = {rule.name: rule.provides for rule in rules}
        return [
            _batch(key, one, rule, batches[0])
            for key, one in self._open()
            for rule, batches in one.batches.items()
            if all(batch.is_done for batch in batches) and provided[rule] not in one.facts
        ]

    async def idle_sets(self) -> list[SetKey]:
        """See the port."""
        return [
            key
            for key, one in self._open()
            if one.readiness.keys() <= one.batches.keys()
            and all(batch.is_done for batches in one.batches.values() for batch in batches)
        ]

    async def untold_deliveries(self) -> list[Announcement]:
        """See the port."""
        return [
            Announcement(
                delivery_id=row.delivery_id,
                tenant=row.tenant,
                business_date=row.business_date,
                entity=row.entity,
                state=row.state,
                chunk_count=len(row.chunks),
                traceparent=row.traceparent,
            )
            for row in self._sealed()
            if row.sealing and row.sealing.chunk_count == len(row.chunks) and row.business_date and row.entity
        ]

    async def gaps(self) -> list[Gap]:
        """See the port."""
        return [
            Gap(self.lease_of(row), row.sent_offsets)
            for row in self._sealed()
            if row.sealing and row.sealing.chunk_count > len(self._settled(row)) and row.tenant not in self.ledger.paused
        ]

    async def cutoffs(self) -> list[Due]:
        """See the port."""
        return self.dues

    async def mark_late(self, key: SetKey, due_at: datetime, note: Note) -> bool:
        """See the port."""
        if self.ledger.versions.get(key) or key in self.ledger.late:
            return False
        self.ledger.late[key] = due_at
        self.ledger.notify(key, note)
        return True

    def _settled(self, row: StoredDelivery) -> set[int]:
        return {*row.chunks, *(index for one, index in self.ledger.dead_chunks if one == row.delivery_id)}

    def _sealed(self) -> list[StoredDelivery]:
        return [row for row in self.ledger.deliveries.values() if row.state == "sealed" and row.is_announced]

    def _open(self) -> Iterator[tuple[SetKey, StoredVersion]]:
        return ((key, one) for key, found in self.ledger.versions.items() for one in found if one.state == "open")

    def _batches(self) -> Iterator[tuple[Batch, StoredBatch]]:
        for key, one in self._open():
            for rule, batches in one.batches.items():
                yield from ((_batch(key, one, rule, batch), batch) for batch in batches)


def _batch(key: SetKey, version: StoredVersion, rule: str, stored: StoredBatch) -> Batch:
    named = {"tenant": key.tenant, "business_date": key.business_date, "version": version.version, "rule": rule}
    return Batch(**named, batch=stored.index, batch_count=stored.count)
