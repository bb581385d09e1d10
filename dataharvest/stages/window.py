"""Window: how much of one tenant is under way, sent and not yet in the ledger."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import inf

from dataharvest.ports import Position
from dataharvest.tenants import ChunkKey, Tenants

# A worker stores a chunk in about 40 ms and has dozens waiting: to look more often would only take its processor time.
_FIRST_POLL_S, _LONGEST_POLL_S = 0.04, 0.25
_OTHERS_LOOK_S = 0.1
_OTHERS_LINGER_S = 0.3
"""So long a set of others may be seen nowhere, between two of its steps."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be under way of one tenant; one chunk always may."""

    chunk_count: int
    byte_count: float = inf
    """Of the chunks' content, in bytes."""
    bytes_beside_others: float = inf
    """The same while others have sets under way. They wait for a core as long as it takes to store what is ahead of them."""


@dataclass
class _Sent:
    byte_length: int
    position: Position | None = None


class Window:
    """Chunks of one tenant that are sent and not yet in the ledger, across all its deliveries: never more than the limits."""

    def __init__(self, tenant: str, tenants: Tenants, *, limits: Limits, under_way: Iterable[ChunkKey]) -> None:
        self._tenant = tenant
        self._tenants = tenants
        self._limits = limits
        # How long those are that somebody else has sent is not known; they land soon.
        self._under_way = {chunk: _Sent(0) for chunk in under_way}
        self._polling = asyncio.Lock()
        self._asked_at = self._others_seen_at = -inf

    async def enter(self, chunk: ChunkKey, byte_length: int, *, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Count the chunk, once there is room; ``meanwhile`` is called now and then, and may raise."""
        delay_s = _FIRST_POLL_S
        while await self._is_full(chunk, byte_length):
            async with self._polling:
                # Another delivery of the tenant may have made room while this one stood in line.
                made_room = not await self._is_full(chunk, byte_length) or await self._forget_landed()
            await meanwhile()
            delay_s = _FIRST_POLL_S if made_room else min(_LONGEST_POLL_S, delay_s * 1.5)
            if await self._is_full(chunk, byte_length):
                await asyncio.sleep(delay_s)
        self._under_way.setdefault(chunk, _Sent(byte_length))

    def sent(self, chunk: ChunkKey, position: Position) -> None:
        """Note where the chunk is."""
        if chunk in self._under_way:
            self._under_way[chunk].position = position

    def leave(self, chunk: ChunkKey) -> None:
        """Forget a chunk that was not sent after all."""
        self._under_way.pop(chunk, None)

    async def _is_full(self, chunk: ChunkKey, byte_length: int) -> bool:
        if chunk in self._under_way or not self._under_way:
            return False
        limits, wanted = self._limits, byte_length + sum(one.byte_length for one in self._under_way.values())
        if len(self._under_way) >= limits.chunk_count or wanted > limits.byte_count:
            return True
        return wanted > limits.bytes_beside_others and await self._is_beside_others()

    async def _is_beside_others(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= _OTHERS_LOOK_S:
            self._asked_at = now
            if await self._tenants.others_under_way(self._tenant):
                self._others_seen_at = now
        return now - self._others_seen_at < _OTHERS_LINGER_S

    async def _forget_landed(self) -> bool:
        landed = await self._tenants.landed({chunk: one.position for chunk, one in self._under_way.items()})
        for chunk in landed:
            self._under_way.pop(chunk, None)
        return bool(landed)
