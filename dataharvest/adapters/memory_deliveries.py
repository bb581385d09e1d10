"""Deliveries kept in memory: the fake of the port, under the same contract as PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dataharvest import tracing
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.deliveries import LEASES_PER_TENANT, READERS_LOST, SPLITTER_VERSION, Announcement, Lease, Sealing, SetKey
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.notifying import rejected_note, unusable_note
from dataharvest.rules.splitting import chunk_bytes_for
from dataharvest.rules.versions import IN_PROGRESS

_TO_SPLIT = ("registered", "waiting", "splitting")
_READ = ("sealed", "judging", "complete", "repeat")
_ENDED = ("rejected", "repeat", "abandoned")


class MemoryDeliveries:
    """The port ``Deliveries`` without a server."""

    def __init__(self, ledger: MemoryLedger, *, chunk_bytes: int, lease_s: float, owner: str = "one") -> None:
        self._ledger = ledger
        self._rows = ledger.deliveries
        self._chunk_bytes = chunk_bytes
        self._lease_s = lease_s
        self._owner = owner

    async def register(
        self, source: ObjectVersion, name: ObjectName, *, contract_version: int = 0, after: int | None = None
    ) -> int | None:
        """See the port."""
        self._wake()
        row = StoredDelivery(
            delivery_id=len(self._rows) + 1,
            tenant=name.tenant,
            business_date=name.business_date,
            entity=name.entity,
            source=source,
            state="registered",
            contract_version=contract_version,
            registered_at=self._ledger.clock(),
            traceparent=tracing.traceparent(),
        )
        if any(one.order[:2] > row.order[:2] for one in self._read(row)):
            row.state = "superseded"
        return self._insert(row, after=after)

    async def overtaken_by(self, source: ObjectVersion) -> int | None:
        """See the port."""
        newest = self._newest_of_key(source)
        is_overtaken = newest and source.shares_its_second(newest.source.etag, newest.source.last_modified)
        return newest.delivery_id if newest and is_overtaken else None

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """See the port."""
        tenant = str(reason.details.get("tenant", ""))
        row = StoredDelivery(len(self._rows) + 1, tenant, None, None, source, "rejected", is_announced=True)
        row.failure = {"rule": reason.rule}
        delivery_id = self._insert(row)
        if delivery_id is not None and tenant:
            self._ledger.notify((tenant, None), unusable_note(tenant, delivery_id=delivery_id, reason=reason.message))
        return delivery_id

    async def lease(self, *, per_tenant: int = LEASES_PER_TENANT, alone: bool = True) -> Lease | None:
        """See the port."""
        now = time.monotonic()
        free = [row for row in self._rows.values() if row.state in _TO_SPLIT and max(row.leased_until, row.next_try_at) <= now]
        leased = [row for row in self._rows.values() if row.state == "splitting" and row.leased_until > now]
        kept_out = {row.tenant for row in leased if row.owner != self._owner} | self._ledger.paused.keys()
        busy = [row.tenant for row in leased]
        free = [row for row in free if row.tenant not in kept_out and busy.count(row.tenant) < per_tenant]
        free = [row for row in free if alone or not _is_suspect(row)]
        if not free:
            return None
        row = min(free, key=lambda one: (not _is_suspect(one), busy.count(one.tenant), one.delivery_id))
        # Here a lease that lapsed is one whose reader died.
        row.crash_count = 0 if len(row.chunks) > row.chunks_at_lease else row.crash_count + bool(row.leased_until)
        row.chunks_at_lease = len(row.chunks)
        row.state, row.epoch, row.leased_until, row.owner = "splitting", row.epoch + 1, now + self._lease_s, self._owner
        return self.lease_of(row)

    async def renew(self, lease: Lease) -> bool:
        """See the port."""
        row = self._leased(lease)
        if row:
            row.leased_until = time.monotonic() + self._lease_s
        return row is not None

    async def release(self, lease: Lease) -> None:
        """See the port."""
        if row := self._leased(lease):
            row.leased_until = 0.0

    async def put_aside(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """See the port."""
        row = self._leased(lease)
        if row and any(one.order > row.order for one in self._read(row)):
            self._end(row, "superseded")
        elif row:
            row.state, row.leased_until, row.failure, row.next_try_at = "waiting", 0.0, dict(failure), time.monotonic() + 2

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """See the port."""
        dead = {index: sha256 for (one, index), sha256 in self._ledger.dead_chunks.items() if one == delivery_id}
        stored = self._rows[delivery_id].chunks.items()
        return {**dead, **{index: bytes.fromhex(metadata.sha256) for index, (metadata, _) in stored}}

    async def note_sent(self, lease: Lease, offsets: Mapping[int, int]) -> None:
        """See the port."""
        row = self._rows[lease.delivery_id]
        if row.epoch == lease.epoch:
            row.sent_offsets = dict(offsets)

    async def note_gap(self, delivery_id: int, failure: Mapping[str, Any] | None) -> None:
        """See the port."""
        row = self._rows[delivery_id]
        if row.state == "sealed" and not row.is_broken:
            row.failure = dict(failure) if failure else None

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """See the port."""
        return len(self._rows[delivery_id].chunks)

    async def seal(self, lease: Lease, sealing: Sealing, *, sent_offsets: Mapping[int, int] | None = None) -> bool:
        """See the port."""
        row = self._leased(lease)
        if row is None:
            return False
        if sent_offsets is not None:
            row.sent_offsets = dict(sent_offsets)
        row.traceparent = tracing.traceparent() or row.traceparent
        rivals = [one for one in self._siblings(row) if one.state in IN_PROGRESS | {"complete"}]
        newest = max((one for one in rivals if not one.never_counts), key=lambda one: one.order, default=None)
        is_read_alike = newest is not None and newest.contract_version == row.contract_version
        if is_read_alike and newest and newest.sealing and newest.sealing.content_sha256 == sealing.content_sha256:
            self._end(row, "repeat")
            row.repeat_of = newest.delivery_id
        else:
            row.state, row.sealing, row.sealed_at = "sealed", sealing, self._ledger.clock()
        for one in rivals:
            if one.state == "waiting" and one.order < row.order:
                self._end(one, "superseded")
        return True

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """See the port."""
        row = self._rows.get(delivery_id)
        if row is None or row.state not in IN_PROGRESS:
            return False
        self._end(row, "rejected")
        row.failure = {"rule": reason.rule, "message": reason.message}
        assert row.business_date is not None and row.entity is not None
        note = rejected_note(row.tenant, row.business_date, delivery_id=delivery_id, entity=row.entity, rule=reason.rule)
        self._ledger.notify(SetKey(row.tenant, row.business_date), note)
        self._revive_newest([one for one in self._rows.values() if one.repeat_of == delivery_id and one.state == "repeat"])
        return True

    def _revive_newest(self, repeats: list[StoredDelivery]) -> None:
        repeats.sort(key=lambda one: one.order)
        for one in repeats:
            one.repeat_of = repeats[-1].delivery_id
        if repeats:
            repeats[-1].state, repeats[-1].repeat_of, repeats[-1].is_announced = "registered", None, False
            self._wake()

    async def unannounced(self) -> list[Announcement]:
        """See the port."""
        return [
            Announcement(
                delivery_id=row.delivery_id,
                tenant=row.tenant,
                business_date=row.business_date,
                entity=row.entity,
                state=row.state,
                chunk_count=row.sealing.chunk_count if row.sealing else None,
                traceparent=row.traceparent,
            )
            for row in self._rows.values()
            if not row.is_announced and row.state not in _TO_SPLIT and row.business_date and row.entity
        ]

    async def mark_announced(self, *delivery_ids: int) -> None:
        """See the port."""
        for delivery_id in delivery_ids:
            self._rows[delivery_id].is_announced = True

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """See the port."""
        sources = (row.source for row in sorted(self._rows.values(), key=lambda one: one.order))
        return set({one.key: one.etag for one in sources if one.bucket == bucket and one.key in keys}.items())

    @asynccontextmanager
    async def wake_ups(self) -> AsyncIterator[asyncio.Event]:
        """See the port."""
        woken = asyncio.Event()
        self._ledger.wake_ups.add(woken)
        try:
            yield woken
        finally:
            self._ledger.wake_ups.discard(woken)

    def _wake(self) -> None:
        for woken in self._ledger.wake_ups:
            woken.set()

    def _newest_of_key(self, source: ObjectVersion) -> StoredDelivery | None:
        rows = [one for one in self._rows.values() if (one.source.bucket, one.source.key) == (source.bucket, source.key)]
        return max(rows, key=lambda one: one.order, default=None)

    def _insert(self, row: StoredDelivery, *, after: int | None = None) -> int | None:
        identity = (row.source.bucket, row.source.key, row.source.identity)
        newest = self._newest_of_key(row.source)
        if after is not None and (newest is None or newest.delivery_id != after):
            return None
        if after is None and any(
            (one.source.bucket, one.source.key, one.source.identity) == identity for one in self._rows.values()
        ):
            return None
        self._rows[row.delivery_id] = row
        return row.delivery_id

    def _siblings(self, row: StoredDelivery) -> list[StoredDelivery]:
        """Other deliveries of the same tenant, date and entity that did not come to nothing."""
        place = (row.tenant, row.business_date, row.entity)
        same = [one for one in self._rows.values() if (one.tenant, one.business_date, one.entity) == place]
        return [one for one in same if one.delivery_id != row.delivery_id and one.state not in _ENDED]

    def _read(self, row: StoredDelivery) -> list[StoredDelivery]:
        """Others of the same tenant, date and entity that were read to their end and are no ended attempt."""
        place = (row.tenant, row.business_date, row.entity)
        same = [one for one in self._rows.values() if (one.tenant, one.business_date, one.entity) == place]
        return [one for one in same if one.state in _READ]

    def _leased(self, lease: Lease) -> StoredDelivery | None:
        row = self._rows[lease.delivery_id]
        return row if row.epoch == lease.epoch and row.state == "splitting" else None

    def _end(self, row: StoredDelivery, state: str) -> None:
        row.state, row.is_announced, row.leased_until = state, False, 0.0
        row.chunks.clear()

    def lease_of(self, row: StoredDelivery) -> Lease:
        """The lease that the row describes."""
        assert row.business_date is not None and row.entity is not None
        return Lease(
            delivery_id=row.delivery_id,
            epoch=row.epoch,
            tenant=row.tenant,
            business_date=row.business_date,
            entity=row.entity,
            source=row.source,
            chunk_bytes=chunk_bytes_for(row.source.size_bytes, chunk_bytes=self._chunk_bytes),
            splitter_version=SPLITTER_VERSION,
            contract_version=row.contract_version,
            traceparent=row.traceparent,
            crash_count=row.crash_count,
            chunks_at_lease=row.chunks_at_lease,
        )


def _is_suspect(row: StoredDelivery) -> bool:
    return row.crash_count + bool(row.leased_until) >= READERS_LOST - 1
