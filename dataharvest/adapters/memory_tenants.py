"""Tenants kept in memory: the fake of the port, under the same contract as PostgreSQL."""

import time
from collections.abc import Mapping
from math import inf

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.ports import Position
from dataharvest.rules.versions import ACCEPTING
from dataharvest.tenants import ChunkKey

_SENDING = ("registered", "splitting", "sealed")
_SMALL_S = 10.0


class MemoryTenants:
    """The port ``Tenants`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def paused(self) -> frozenset[str]:
        """See the port."""
        return frozenset(self._ledger.paused)

    async def in_flight(self, tenant: str) -> set[ChunkKey]:
        """See the port."""
        rows = [row for row in self._ledger.deliveries.values() if row.tenant == tenant and row.state in _SENDING]
        ends = {row.delivery_id: row.sealing.chunk_count if row.sealing else max(row.chunks, default=-1) + 1 for row in rows}
        sent = {ChunkKey(row.delivery_id, index) for row in rows for index in range(ends[row.delivery_id])}
        return {key for key in sent - self._ledger.dead_chunks.keys() if not self._has_landed(key)}

    async def landed(self, sent: Mapping[ChunkKey, Position | None]) -> set[ChunkKey]:
        """See the port."""
        return {key for key in sent if self._has_landed(key)}

    async def others_under_way(self, tenant: str) -> bool:
        """See the port."""
        since = self._ledger.clock() - _SMALL_S
        others = [row for row in self._ledger.deliveries.values() if row.tenant != tenant]
        young = [row for row in others if row.registered_at > since]
        are_read = any(row.state == "splitting" and row.leased_until >= time.monotonic() for row in young)
        are_sealed = any(row.state == "sealed" and (row.sealed_at or -inf) > since for row in others)
        versions = [one for key, of_set in self._ledger.versions.items() if key.tenant != tenant for one in of_set]
        return are_read or are_sealed or any(one.state == "open" and one.created_at > since for one in versions)

    async def pause(self, tenant: str, *, reason: str) -> None:
        """Let nothing of the tenant be split from the next chunk on."""
        self._ledger.paused[tenant] = reason
        self._wake()

    async def resume(self, tenant: str) -> bool:
        """Go on with the tenant's files; False when it was not paused."""
        resumed = self._ledger.paused.pop(tenant, None) is not None
        self._wake()
        return resumed

    def _has_landed(self, key: ChunkKey) -> bool:
        row = self._ledger.deliveries.get(key.delivery_id)
        is_settled = row is None or row.state not in ACCEPTING or key.chunk_index in row.chunks
        return is_settled or key in self._ledger.dead_chunks

    def _wake(self) -> None:
        for woken in self._ledger.wake_ups:
            woken.set()
