"""Sweep: finds what a lost event or a crash between two steps has left behind, and gives the hint again."""

import asyncio
import logging
from collections import Counter

from dataharvest.services import Services
from dataharvest.stages.fan_out import send_unsent_batches
from dataharvest.stages.fold import send_unsent_readiness
from dataharvest.stages.register import register_object
from dataharvest.stages.split_deliveries import announce_endings

logger = logging.getLogger(__name__)

_BETWEEN_PAGES_S = 1.0


async def sweep(services: Services) -> Counter[str]:
    """Look once; returns how much of each kind was found and repaired. Nothing happens while somebody else sweeps."""
    found: Counter[str] = Counter()
    async with services.sweep_state.turn() as mine:
        if not mine:
            return found
        found["objects"] = await _register_missed(services)
        await announce_endings(deliveries=services.deliveries, sender=services.sender)
        for key in await services.sweep_state.overdue_readiness():
            await send_unsent_readiness(key, sets=services.sets, sender=services.sender)
            found["readiness"] += 1
        for ready in await services.sweep_state.overdue_batches():
            await send_unsent_batches(ready, work=services.work, sender=services.sender)
            found["batches"] += 1
    if found.total():
        logger.warning("sweep found work", extra=dict(found))
    return found


async def _register_missed(services: Services) -> int:
    missed = 0
    start_after: str | None = ""
    while start_after is not None:
        page = await services.objects.list_keys(services.bucket, start_after=start_after)
        known = await services.deliveries.known(services.bucket, [one.key for one in page.objects])
        for one in page.objects:
            if (one.key, one.etag) not in known:
                await register_object(one.key, bucket=services.bucket, objects=services.objects, deliveries=services.deliveries)
                missed += 1
        start_after = page.next_start_after
        if start_after is not None:
            await asyncio.sleep(_BETWEEN_PAGES_S)
    return missed
