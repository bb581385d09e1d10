"""How fast a replay may go, so that live messages on the same partitions do not wait for it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol


class Backlog(Protocol):
    """What the workers have before them."""

    async def count(self) -> int:
        """Messages that no worker has acknowledged; 0 where no worker runs, for then nothing live waits either."""


@dataclass
class Courtesy:
    """Lets the workers catch up: a rate that is right for an idle machine is too much for a busy one."""

    backlog: Backlog
    limit: int
    look_each_s: float = 0.5

    async def wait(self, *, unless: asyncio.Event) -> None:
        """Wait while more than ``limit`` messages are before the workers, or until the event is set."""
        while not unless.is_set() and await self.backlog.count() > self.limit:
            with suppress(TimeoutError):
                await asyncio.wait_for(unless.wait(), timeout=self.look_each_s)


@dataclass
class Pace:
    """Lets messages and bytes through at a steady rate, whichever of the two is the stricter; nothing is saved up."""

    messages_per_s: float
    bytes_per_s: float
    clock: Callable[[], float] = time.monotonic
    _free_at: float = field(default=0.0)

    async def wait(self, byte_count: int, *, unless: asyncio.Event) -> None:
        """Wait until a message of this length may be sent, or until the event is set."""
        now = self.clock()
        start = max(now, self._free_at)
        self._free_at = start + max(1 / self.messages_per_s, byte_count / self.bytes_per_s)
        if start <= now:
            # Others have to get their turn too, the signal's handler among them.
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(unless.wait(), timeout=start - now)
