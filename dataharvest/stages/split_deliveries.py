"""The splitters' loop: takes deliveries in turn, splits some side by side, and tells the sets what became of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

from dataharvest import metrics
from dataharvest.deliveries import LEASES_PER_TENANT, READERS_LOST, Lease
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected, Unavailable
from dataharvest.ports import Deliveries, Sender
from dataharvest.stages.announce import announce_endings
from dataharvest.stages.fairness import TenantPaused
from dataharvest.stages.flight import LeaseLost
from dataharvest.stages.split import Splitter

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0
_OUTAGE_PAUSE_S = 1.0
_UNDER_WAY_LOOK_S = 0.25
_ENDINGS_LOOK_S = 0.25


@dataclass
class SplitLoop:
    """Runs until ``stopping`` says so; a notification from PostgreSQL wakes it, looking again now and then is the safety net."""

    splitter: Splitter
    deliveries: Deliveries
    sender: Sender
    concurrency: int
    stopping: Callable[[], bool]
    come_round: Callable[[], None] = lambda: None
    """Called at every look around and at every try: a sign of life."""
    under_way_s: float = 14.0
    """How long what dead readers have sent may take to be stored before their file is blamed: a group misses a worker in 10 s."""
    _running: dict[asyncio.Task[None], Lease] = field(default_factory=dict)
    _told_at: float = -inf
    """When endings were looked for, by the loop's clock; long ago once one has ended here."""
    _looks_soon: bool = False
    """Whether that was so short a time ago that it was left for the next round."""

    async def run(self) -> None:
        """Work until told to stop or a service fails.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there; call again.
        """
        self.come_round()
        try:
            async with self.deliveries.wake_ups() as woken:
                # First, and alone: while Kafka is not there nothing is leased over and over.
                await self._tell_of_endings()
                while not self.stopping():
                    self.come_round()
                    woken.clear()
                    await self.splitter.fairness.look_for_pauses()
                    await _both(self._tell_of_endings(), self._fill())
                    await self._wait(woken)
        finally:
            await self._abandon()

    async def _tell_of_endings(self) -> None:
        # Most deliveries end here, and then they are told of at once. Under load the loop comes round hundreds of times a second.
        now = asyncio.get_running_loop().time()
        self._looks_soon = now - self._told_at < _ENDINGS_LOOK_S
        if not self._looks_soon:
            await announce_endings(deliveries=self.deliveries, sender=self.sender)
            self._told_at = now

    async def _fill(self) -> None:
        while len(self._running) < self.concurrency and not await self._is_on_trial():
            # A tenant's further files take no more than half the places: a few large tenants must not fill them all.
            per_tenant = LEASES_PER_TENANT if len(self._running) < self.concurrency / 2 else 1
            lease = await self.deliveries.lease(per_tenant=per_tenant, alone=not self._running)
            if lease is None:
                return
            self._running[asyncio.create_task(self._split(lease))] = lease

    async def _is_on_trial(self) -> bool:
        """Whether a delivery is read over which splitters have died, and got no further yet than they did.

        Nothing else is read meanwhile: whatever is in hand when this process ends would be blamed too.
        """
        for lease in self._running.values():
            if lease.is_suspect and not await self._is_further(lease):
                return True
        return False

    async def _wait(self, woken: asyncio.Event) -> None:
        waking = asyncio.create_task(woken.wait())
        try:
            timeout_s = _ENDINGS_LOOK_S if self._looks_soon else _LOOK_AGAIN_S
            await asyncio.wait({waking, *self._running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        for task in [one for one in self._running if one.done()]:
            del self._running[task]
            self._told_at = -inf
            task.result()

    async def _split(self, lease: Lease) -> None:
        details = {"delivery_id": lease.delivery_id, "tenant": lease.tenant, "entity": lease.entity}
        try:
            if lease.crash_count >= READERS_LOST and not await self._got_further(lease):
                message = f"reading the file ended its worker {READERS_LOST} times without getting further"
                raise Rejected(message, rule="crashed_worker")
            with metrics.STAGE_SECONDS.labels("split").time():
                await self.splitter.split(lease)
        except ContractTrouble as trouble:
            await self.deliveries.put_aside(lease, {"rule": trouble.rule, "message": trouble.message})
            logger.error("contract can't be read, the delivery waits", extra={**details, "reason": trouble.message})
        except Rejected as reason:
            await reject_read(lease, reason, deliveries=self.deliveries)
        except ObjectTrouble as trouble:
            failure = {"rule": f"object_{trouble.code}", "message": str(trouble)}
            await self.deliveries.put_aside(lease, failure)
            logger.warning("delivery waits for its object", extra={**details, "code": trouble.code})
        except TenantPaused:
            await self.deliveries.release(lease)
            logger.info("tenant paused, delivery given back", extra=details)
        except LeaseLost:
            logger.info("lease lost", extra=details)
        except Unavailable as outage:
            logger.warning("splitting interrupted", extra={**details, "reason": str(outage)})
            metrics.STAGE_RETRIES.labels("split").inc()
            await asyncio.sleep(_OUTAGE_PAUSE_S)
            await self.deliveries.release(lease)
        else:
            logger.info("delivery read to its end", extra=details)

    async def _got_further(self, lease: Lease) -> bool:
        """Whether a chunk is stored that the dead had sent; it may have waited behind others, or for the dead to be missed."""
        # No longer than the lease is ours without being renewed.
        patience_s = min(self.under_way_s, self.splitter.lease_s / 2)
        for _ in range(round(patience_s / _UNDER_WAY_LOOK_S)):
            if await self._is_further(lease):
                return True
            await asyncio.sleep(_UNDER_WAY_LOOK_S)
        return False

    async def _is_further(self, lease: Lease) -> bool:
        return await self.deliveries.stored_chunk_count(lease.delivery_id) > lease.chunks_at_lease

    async def _abandon(self) -> None:
        running, self._running = self._running, {}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        # Another splitter goes on from the chunks in the ledger; a lease that lapses instead would look like a death.
        with suppress(Unavailable):
            for task, lease in running.items():
                if task.cancelled():
                    await self.deliveries.release(lease)


async def _both(one: Awaitable[None], other: Awaitable[None]) -> None:
    """Wait for both, also when one of them fails: a lease that is asked for meanwhile must not be left with nobody."""
    outcomes = await asyncio.gather(one, other, return_exceptions=True)
    failures = [outcome for outcome in outcomes if outcome is not None]
    # A bug is not hidden behind an outage.
    for failure in sorted(failures, key=lambda failure: isinstance(failure, Unavailable)):
        raise failure


async def reject_read(lease: Lease, reason: Rejected, *, deliveries: Deliveries) -> None:
    """End a delivery that turned out to be no file; where even that is refused, it is put aside and everybody else goes on.

    Raises:
        Unavailable: PostgreSQL is not there.
    """
    details = {"delivery_id": lease.delivery_id, "tenant": lease.tenant, "entity": lease.entity, "rule": reason.rule}
    try:
        await deliveries.reject(lease.delivery_id, reason)
    except Rejected as second:
        failure = {"rule": reason.rule, "message": f"it can't be rejected: {second.message}"}
        await deliveries.put_aside(lease, failure)
        logger.error("delivery can't be rejected", extra={**details, "reason": second.message})
    else:
        log = logger.error if reason.rule == "crashed_worker" else logger.warning
        log("delivery rejected", extra=details)
