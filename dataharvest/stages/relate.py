"""Relate: link clients, portfolios, accounts and transactions of a set version, and report what hangs in the air."""

import logging

from dataharvest.messages import Batch
from dataharvest.ports import Work

logger = logging.getLogger(__name__)

BLOCKING = ("transactions without an account", "portfolios without an account", "portfolios without a client")
"""Orphans that would make a value wrong. An account without a portfolio is reported and goes nowhere."""


async def relate(batch: Batch, *, work: Work) -> bool:
    """Store the links and the orphans; False when the version is cancelled, or blocked by orphans."""
    async with work.open_batch(batch) as locked:
        if locked is None:
            return False
        if locked.opened.computed:
            return True
        orphans = await locked.relate()
        await locked.mark_computed()
        blocking = [f"{count} {kind}" for kind, count in orphans.items() if kind in BLOCKING]
        if blocking:
            await locked.block({"rule": "orphans", "message": ", ".join(blocking)})
            logger.error("set blocked", extra={"tenant": batch.tenant, "rule": "orphans"})
            return False
        await locked.mark_done()
    return True
