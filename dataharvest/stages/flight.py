"""Flight: the chunks of one delivery on their way to Kafka."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack

from dataharvest import metrics
from dataharvest.deliveries import Lease
from dataharvest.errors import Rejected
from dataharvest.failpoints import failpoint
from dataharvest.messages import ChunkMetadata, encode_chunk
from dataharvest.ports import Deliveries, Position, Sender
from dataharvest.stages.aside import aside
from dataharvest.stages.fairness import Fairness
from dataharvest.stages.window import Window
from dataharvest.tenants import ChunkKey

_SENDS_AT_ONCE = 4

Keep = Callable[[], Awaitable[None]]
"""Called before every chunk: keeps the right to send it, or raises."""


class LeaseLost(Exception):
    """Another splitter has the delivery now; whatever this one sent is the same, byte for byte."""


class LeaseKeeper:
    """Called often, renews the lease every third of its length."""

    def __init__(self, lease: Lease, deliveries: Deliveries, *, lease_s: float) -> None:
        self._lease = lease
        self._deliveries = deliveries
        self._lease_s = lease_s
        self._renewed_at = asyncio.get_running_loop().time()

    async def __call__(self) -> None:
        """Renew if it is time; LeaseLost when another splitter has it."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at < self._lease_s / 3:
            return
        if not await self._deliveries.renew(self._lease):
            raise LeaseLost
        self._renewed_at = now


async def nothing_to_keep() -> None:
    """A sealed delivery has no lease: its missing chunks may be sent by anybody."""


class Flight:
    """Sends a few chunks at once, in their tenant's turn and within its window."""

    def __init__(
        self, lease: Lease, *, sender: Sender, fairness: Fairness, window: Window, stored: Mapping[int, bytes], keep: Keep
    ) -> None:
        self._lease = lease
        self._sender = sender
        self._fairness = fairness
        self._window = window
        self._stored = stored
        self._keep = keep
        self._sending: dict[asyncio.Task[Position], ChunkKey] = {}
        self.chunk_count = self.sent_count = 0
        self.last_offsets: dict[int, int] = {}
        """The largest offset by partition of what was sent."""

    async def send(self, metadata: ChunkMetadata, data: bytes) -> None:
        """Send the chunk unless the ledger has it; waits for room in the window and for the tenant's turn."""
        self.chunk_count = metadata.index + 1
        await self._still_going()
        stored = self._stored.get(metadata.index)
        if stored is not None:
            if stored.hex() != metadata.sha256:
                raise Rejected(f"chunk {metadata.index} was stored with other bytes", rule="chunk_conflict")
            return
        if len(self._sending) >= _SENDS_AT_ONCE:
            await self._land(asyncio.FIRST_COMPLETED)
        chunk = ChunkKey(self._lease.delivery_id, metadata.index)
        # Before it is let in: from then on nothing is awaited until it is being sent, or it would have to be let out again.
        value = await aside(len(data), encode_chunk, metadata, data)
        await self._let_in(chunk, len(data))
        self._sending[asyncio.create_task(self._sender.send("chunks", key=metadata.key, value=value))] = chunk
        self.sent_count += 1
        metrics.CHUNKS_SENT.labels(metadata.entity).inc()

    async def landed(self) -> None:
        """Wait until Kafka has acknowledged every chunk."""
        if self._sending:
            await self._land(asyncio.ALL_COMPLETED)

    def cancel(self) -> None:
        """Stop what is still being sent; it is sent again by whoever goes on."""
        for task, chunk in self._sending.items():
            task.cancel()
            self._window.leave(chunk)

    async def _let_in(self, chunk: ChunkKey, byte_length: int) -> None:
        await self._window.enter(chunk, byte_length, meanwhile=self._still_going)
        with ExitStack() as not_sent:
            not_sent.callback(self._window.leave, chunk)
            await self._fairness.turnstile.pass_through(self._lease.tenant)
            self._fairness.require_going(self._lease.tenant)
            not_sent.pop_all()

    async def _still_going(self) -> None:
        self._fairness.require_going(self._lease.tenant)
        await self._keep()

    async def _land(self, return_when: str) -> None:
        failpoint("split.chunk_sent")
        done, _ = await asyncio.wait(self._sending, return_when=return_when)
        for task in done:
            position = task.result()
            self._window.sent(self._sending.pop(task), position)
            self.last_offsets[position.partition] = max(position.offset, self.last_offsets.get(position.partition, -1))
