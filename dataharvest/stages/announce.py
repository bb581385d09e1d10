"""Announce: the sets are told of deliveries that were sealed or have ended, whoever ended them."""

import asyncio

from dataharvest import tracing
from dataharvest.deliveries import Announcement
from dataharvest.messages import DeliveryRemoved, DeliverySealed
from dataharvest.ports import Deliveries, Sender


async def announce_endings(*, deliveries: Deliveries, sender: Sender) -> int:
    """Tell the sets of deliveries that were sealed or ended and not announced; how many there were."""
    unannounced = await deliveries.unannounced()
    await asyncio.gather(*(announce(one, sender=sender) for one in unannounced))
    if unannounced:
        await deliveries.mark_announced(*(one.delivery_id for one in unannounced))
    return len(unannounced)


async def announce(one: Announcement, *, sender: Sender) -> None:
    """Tell a set what became of a delivery."""
    message = _announcement(one)
    with tracing.continued(one.traceparent):
        await sender.send("progress", key=message.key, value=message.encode())


def _announcement(one: Announcement) -> DeliverySealed | DeliveryRemoved:
    if one.state in ("sealed", "judging", "complete") and one.chunk_count is not None:
        return DeliverySealed(
            tenant=one.tenant,
            business_date=one.business_date,
            delivery_id=one.delivery_id,
            entity=one.entity,
            chunk_count=one.chunk_count,
        )
    return DeliveryRemoved(
        tenant=one.tenant,
        business_date=one.business_date,
        delivery_id=one.delivery_id,
        entity=one.entity,
        state=one.state,
    )
