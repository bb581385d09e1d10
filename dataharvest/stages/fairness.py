"""Fairness in one splitter: tenants send a chunk each in turn, and few chunks of a tenant are under way at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dataharvest.ports import Position
from dataharvest.stages.tenant_line import TenantLine
from dataharvest.tenants import ChunkKey, Tenants

# A worker stores a chunk in about 40 ms and has dozens waiting: to look more often would only take its processor time.
_FIRST_POLL_S, _LONGEST_POLL_S = 0.04, 0.25


class TenantPaused(Exception):
    """The tenant was paused; what was sent is persisted, the rest waits."""


class Turnstile:
    """Lets one chunk through at a time; those who wait are served tenant by tenant, however many a tenant has waiting."""

    def __init__(self) -> None:
        self._line = TenantLine()
        self._scheduled = False

    async def pass_through(self, tenant: str) -> None:
        """Wait for a turn of the tenant; it lasts until the caller waits for something again."""
        turn = self._line.join(tenant)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            # Behind whoever has the turn now: by then all who are ready to send stand in the queue.
            asyncio.get_running_loop().call_soon(self._let_one_through)

    def _let_one_through(self) -> None:
        self._scheduled = False
        if self._line.call_next():
            self._schedule()


class Window:
    """Chunks of one tenant that are sent and not yet in the ledger, across all its deliveries: never more than the limit."""

    def __init__(self, tenants: Tenants, *, limit: int, under_way: set[ChunkKey]) -> None:
        self._tenants = tenants
        self._limit = limit
        self._under_way: dict[ChunkKey, Position | None] = dict.fromkeys(under_way)
        self._polling = asyncio.Lock()

    async def enter(self, chunk: ChunkKey, *, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Count the chunk, once there is room; ``meanwhile`` is called now and then, and may raise."""
        delay_s = _FIRST_POLL_S
        while self._is_full(chunk):
            async with self._polling:
                # Another delivery of the tenant may have made room while this one stood in line.
                made_room = not self._is_full(chunk) or await self._forget_landed()
            await meanwhile()
            delay_s = _FIRST_POLL_S if made_room else min(_LONGEST_POLL_S, delay_s * 1.5)
            if self._is_full(chunk):
                await asyncio.sleep(delay_s)
        self._under_way.setdefault(chunk)

    def sent(self, chunk: ChunkKey, position: Position) -> None:
        """Note where the chunk is."""
        if chunk in self._under_way:
            self._under_way[chunk] = position

    def leave(self, chunk: ChunkKey) -> None:
        """Forget a chunk that was not sent after all."""
        self._under_way.pop(chunk, None)

    def _is_full(self, chunk: ChunkKey) -> bool:
        return chunk not in self._under_way and len(self._under_way) >= self._limit

    async def _forget_landed(self) -> bool:
        landed = await self._tenants.landed(self._under_way)
        for chunk in landed:
            self._under_way.pop(chunk, None)
        return bool(landed)


@dataclass
class Fairness:
    """The tenants that this process splits for, each with its window."""

    tenants: Tenants
    chunks_in_flight: int
    turnstile: Turnstile = field(default_factory=Turnstile)
    paused: frozenset[str] = frozenset()
    """As the splitters' loop has seen it last."""
    _windows: dict[str, Window] = field(default_factory=dict)
    _users: dict[str, int] = field(default_factory=dict)

    async def look_for_pauses(self) -> None:
        """See who is paused now."""
        self.paused = await self.tenants.paused()

    def require_going(self, tenant: str) -> None:
        """Raise TenantPaused when nothing of the tenant may be sent."""
        if tenant in self.paused:
            raise TenantPaused

    @asynccontextmanager
    async def window(self, tenant: str) -> AsyncIterator[Window]:
        """The tenant's window, shared by all its deliveries that are split at the same time."""
        self._users[tenant] = self._users.get(tenant, 0) + 1
        try:
            if tenant not in self._windows:
                # Deliveries that were read to their end, here or by another splitter, may still have chunks under way.
                under_way = await self.tenants.in_flight(tenant)
                self._windows.setdefault(tenant, Window(self.tenants, limit=self.chunks_in_flight, under_way=under_way))
            yield self._windows[tenant]
        finally:
            self._users[tenant] -= 1
            if not self._users[tenant]:
                del self._users[tenant]
                self._windows.pop(tenant, None)
