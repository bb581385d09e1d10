"""Tenants as the splitters see them: who is paused, and which chunks of whom are under way."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from dataharvest.ports import Position


class ChunkKey(NamedTuple):
    """What names a chunk."""

    delivery_id: int
    chunk_index: int


class Pause(NamedTuple):
    """A tenant whose files wait until it is resumed."""

    tenant: str
    paused_at: datetime
    reason: str


class TenantStatus(NamedTuple):
    """What a tenant has under way."""

    tenant: str
    paused_at: datetime | None
    reason: str | None
    set_count: int
    waiting_count: int
    """Deliveries that nobody reads now and that are not read to their end."""
    reading_count: int


class Tenants(Protocol):
    """What keeps one tenant from delaying another."""

    async def paused(self) -> frozenset[str]:
        """Tenants of which nothing may be split."""

    async def in_flight(self, tenant: str) -> set[ChunkKey]:
        """Chunks of the tenant that were sent and are not in the ledger yet.

        Of a delivery that nobody has read to its end those behind its last stored chunk are left out: nobody knows them.
        """

    async def landed(self, sent: Mapping[ChunkKey, Position | None]) -> set[ChunkKey]:
        """Those of the chunks that are under way no more: stored, dead-lettered, or their delivery has ended.

        The position is None while it is not known.
        """

    async def others_under_way(self, tenant: str) -> bool:
        """Whether anybody else has a file that is being read, or waits for its judgement, or a version that is not published.

        Ten seconds after a file has come, or was read, or after the version was made, that counts no more: it is large, or
        nobody works on it.
        """
