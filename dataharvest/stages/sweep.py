"""Sweep: finds what a lost event or a crash between two steps has left behind, and gives the hint again."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from dataharvest.objects import ObjectStore
from dataharvest.ports import Deliveries, Sender, Sets, SweepState, Work
from dataharvest.stages.fan_out import send_unsent_batches
from dataharvest.stages.fold import send_unsent_readiness
from dataharvest.stages.register import register_object
from dataharvest.stages.split_deliveries import announce_endings

logger = logging.getLogger(__name__)

_BETWEEN_PAGES_S = 1.0


@dataclass
class Sweep:
    """Looks through the bucket and the effects; whatever it gives again is idempotent."""

    bucket: str
    objects: ObjectStore
    deliveries: Deliveries
    sets: Sets
    work: Work
    sender: Sender
    state: SweepState

    async def once(self) -> Counter[str]:
        """Look once; returns how much of each kind was repaired. Nothing happens while somebody else sweeps.

        Raises:
            Unavailable: a service is not there; what was repaired before stays repaired.
        """
        found: Counter[str] = Counter()
        async with self.state.turn() as mine:
            if not mine:
                return found
            found["objects"] = await self._register_missed()
            await announce_endings(deliveries=self.deliveries, sender=self.sender)
            for key in await self.state.overdue_readiness():
                await send_unsent_readiness(key, sets=self.sets, sender=self.sender)
                found["readiness"] += 1
            for ready in await self.state.overdue_batches():
                await send_unsent_batches(ready, work=self.work, sender=self.sender)
                found["batches"] += 1
        if found.total():
            logger.warning("sweep found work", extra=dict(found))
        return found

    async def _register_missed(self) -> int:
        missed = 0
        start_after: str | None = ""
        while start_after is not None:
            page = await self.objects.list_keys(self.bucket, start_after=start_after)
            known = await self.deliveries.known(self.bucket, [one.key for one in page.objects])
            for one in page.objects:
                if (one.key, one.etag) not in known:
                    await register_object(one.key, bucket=self.bucket, objects=self.objects, deliveries=self.deliveries)
                    missed += 1
            start_after = page.next_start_after
            if start_after is not None:
                # At most one listing a second: a bucket may hold millions of objects.
                await asyncio.sleep(_BETWEEN_PAGES_S)
        return missed
