"""What a sweep does about uploads and deliveries: events, leases, announcements and chunks that got lost."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from dataharvest.deliveries import Announcement
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, Deliveries, Sender
from dataharvest.stages.announce import announce, announce_endings
from dataharvest.stages.fairness import TenantPaused
from dataharvest.stages.register import register_object
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.split import Splitter
from dataharvest.stages.split_deliveries import reject_read
from dataharvest.stages.turns import Turns, each
from dataharvest.sweeping import Consumption, Gap, SweepState

logger = logging.getLogger(__name__)

_BETWEEN_PAGES_S = 1.0
_OVERDUE_S = 60.0


@dataclass(kw_only=True)
class SweptDeliveries:
    """Finds what is wrong with deliveries."""

    bucket: str
    objects: ObjectStore
    deliveries: Deliveries
    manifests: ManifestRegister
    contracts: Contracts
    splitter: Splitter
    sender: Sender
    state: SweepState
    consumption: Consumption

    async def objects_without_delivery(self) -> int:
        """Register uploads whose event got lost."""
        missed, turns = 0, Turns()
        async for key in self._missed_keys():
            missed += bool(await turns.give(self._register_missed(key)))
        turns.end()
        return missed

    async def _missed_keys(self) -> AsyncIterator[str]:
        start_after: str | None = ""
        while start_after is not None:
            try:
                page = await self.objects.list_keys(self.bucket, start_after=start_after)
            except ObjectTrouble as trouble:
                logger.error("bucket can't be listed", extra={"bucket": self.bucket, "reason": str(trouble)})
                return
            keys = [one.key for one in page.objects]
            known = await self.deliveries.known(self.bucket, keys) | await self.manifests.known(self.bucket, keys)
            for one in page.objects:
                if (one.key, one.etag) not in known and not one.key.endswith("/"):
                    yield one.key
            start_after = page.next_start_after
            if start_after is not None:
                # At most one listing a second: a bucket may hold millions of objects.
                await asyncio.sleep(_BETWEEN_PAGES_S)

    async def _register_missed(self, key: str) -> bool:
        try:
            await self._register(key)
        except Rejected as reason:
            # One object's trouble: everything else in the bucket still has to be looked at.
            logger.warning("object can't be registered", extra={"object_key": key, "rule": reason.rule})
            return False
        return True

    async def unread_deliveries(self) -> int:
        """Wake the splitters for deliveries that one of them has left behind, or of which nobody told them."""
        return await self.state.wake_for_unread()

    async def unsent_announcements(self) -> int:
        """Tell the sets of deliveries that were sealed or ended."""
        return await announce_endings(deliveries=self.deliveries, sender=self.sender)

    async def untold_deliveries(self) -> int:
        """Tell again of deliveries whose chunks are all stored, for a message of theirs got lost."""
        return len(await each(await self.state.untold_deliveries(), self._tell_again))

    async def _tell_again(self, one: Announcement) -> int:
        await announce(one, sender=self.sender)
        # Told now: the next sweep gives it time.
        await self.deliveries.mark_announced(one.delivery_id)
        return one.delivery_id

    async def untold_manifests(self) -> int:
        """Tell the sets of manifests that were kept and of which nobody told them."""
        return await self.manifests.announce_missed(age_s=_OVERDUE_S)

    async def missing_chunks(self) -> int:
        """Send the chunks that the ledger lacks although every message of their delivery was read; how many."""
        return sum(await each(await self.state.gaps(), self._fill))

    async def _fill(self, gap: Gap) -> int:
        if not await self.consumption.have_passed("chunks", gap.sent_offsets):
            return 0
        lease = gap.lease
        details = {"delivery_id": lease.delivery_id, "tenant": lease.tenant}
        try:
            sent = await self.splitter.resend(lease)
            await self.deliveries.note_gap(lease.delivery_id, None)
            return sent
        except TenantPaused:
            logger.info("tenant paused, its missing chunks wait", extra=details)
        except ObjectTrouble as trouble:
            await self.deliveries.note_gap(lease.delivery_id, {"rule": f"object_{trouble.code}", "message": str(trouble)})
            logger.error("missing chunks cannot be read again", extra={**details, "code": trouble.code})
        except ContractTrouble as trouble:
            logger.error("missing chunks wait for a contract", extra={**details, "reason": trouble.message})
        except Rejected as reason:
            await reject_read(lease, reason, deliveries=self.deliveries)
        return 0

    async def _register(self, key: str) -> None:
        await register_object(
            key,
            bucket=self.bucket,
            objects=self.objects,
            deliveries=self.deliveries,
            manifests=self.manifests,
            contracts=self.contracts,
        )
