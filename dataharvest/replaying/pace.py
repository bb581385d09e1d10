"""How fast a replay may go, so that live messages on the same partitions do not wait for it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


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
        try:
            await asyncio.wait_for(unless.wait(), timeout=start - now)
        except TimeoutError:
            return
