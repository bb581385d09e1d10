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
_OTHERS_LINGER_S = 0.5
"""So long a set of others may be seen nowhere, between two of its steps; longer than from one look to the next."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be under way of one tenant; one chunk always may."""

    chunk_count: int
    byte_count: float = inf
    """Of the chunks' content, in bytes."""
    chunks_beside_others: float = inf
    """The same while others have sets under way, whose chunks stand behind these in the partitions."""
    bytes_beside_others: float = inf
    """They also wait for a core as long as it takes to store what is ahead of them."""


@dataclass
class _Sent:
    byte_length: int | None
    """None where it is not known."""
    position: Position | None = None


class Window:
    """Chunks of one tenant that are sent and not yet in the ledger, across all its deliveries: none enters beyond the limits."""

    def __init__(self, tenant: str, tenants: Tenants, *, limits: Limits, under_way: Iterable[ChunkKey]) -> None:
        self._tenant = tenant
        self._tenants = tenants
        self._limits = limits
        # The ledger does not say how long those are of deliveries that were read before.
        self._under_way = {chunk: _Sent(None) for chunk in under_way}
        self._polling, self._looking = asyncio.Lock(), asyncio.Lock()
        self._looked_at = self._others_seen_at = -inf

    async def enter(self, chunk: ChunkKey, byte_length: int, *, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Count the chunk, once there is room; ``meanwhile`` is called now and then, and may raise."""
        delay_s = _FIRST_POLL_S
        await self._look_for_others(byte_length)
        # Nothing is waited for between the last look and the entry: another delivery of the tenant would take the same place.
        while self._is_full(chunk, byte_length):
            async with self._polling:
                # Another delivery of the tenant may have made room while this one stood in line.
                made_room = not self._is_full(chunk, byte_length) or await self._forget_landed()
            await meanwhile()
            delay_s = _FIRST_POLL_S if made_room else min(_LONGEST_POLL_S, delay_s * 1.5)
            if self._is_full(chunk, byte_length):
                await asyncio.sleep(delay_s)
            await self._look_for_others(byte_length)
        self._under_way.setdefault(chunk, _Sent(None)).byte_length = byte_length

    def sent(self, chunk: ChunkKey, position: Position) -> None:
        """Note where the chunk is."""
        if chunk in self._under_way:
            self._under_way[chunk].position = position

    def leave(self, chunk: ChunkKey) -> None:
        """Forget a chunk that was not sent after all."""
        self._under_way.pop(chunk, None)

    def _is_full(self, chunk: ChunkKey, byte_length: int) -> bool:
        if chunk in self._under_way or not self._under_way:
            return False
        is_beside_others = asyncio.get_running_loop().time() - self._others_seen_at < _OTHERS_LINGER_S
        if is_beside_others and self._is_much_beside_others(byte_length):
            return True
        return self._is_beyond(self._limits.chunk_count, self._limits.byte_count, byte_length)

    def _is_much_beside_others(self, byte_length: int) -> bool:
        return self._is_beyond(self._limits.chunks_beside_others, self._limits.bytes_beside_others, byte_length)

    def _is_beyond(self, chunk_count: float, byte_count: float, byte_length: int) -> bool:
        """Whether one more chunk, of this length, would be too much."""
        return len(self._under_way) >= chunk_count or self._bytes_with(byte_length) > byte_count

    async def _look_for_others(self, byte_length: int) -> None:
        """See whether others have something under way, now and then, where that would make a difference."""
        if not self._is_much_beside_others(byte_length):
            return
        # Nobody goes on without an answer that another delivery of the tenant is waiting for.
        async with self._looking:
            clock = asyncio.get_running_loop().time
            if clock() - self._looked_at < _OTHERS_LOOK_S:
                return
            are_others = await self._tenants.others_under_way(self._tenant)
            # An answer counts from when it came: where it takes long nothing else would ever count.
            self._looked_at = clock()
            if are_others:
                self._others_seen_at = self._looked_at

    def _bytes_with(self, byte_length: int) -> int:
        # One of unknown length counts as another one like this.
        known = [byte_length if one.byte_length is None else one.byte_length for one in self._under_way.values()]
        return byte_length + sum(known)

    async def _forget_landed(self) -> bool:
        landed = await self._tenants.landed({chunk: one.position for chunk, one in self._under_way.items()})
        for chunk in landed:
            self._under_way.pop(chunk, None)
        return bool(landed)
