"""Send readiness: the effect of a decision, first a row and then the message."""

import asyncio
from collections.abc import Sequence

from dataharvest.deliveries import SetKey
from dataharvest.messages import RuleReady
from dataharvest.ports import Sender, Sets


async def send_unsent_readiness(key: SetKey, *, sets: Sets, sender: Sender) -> None:
    """Send what was announced and not sent, by whomever."""
    await send_readiness(key, await sets.unsent_readiness(key), sets=sets, sender=sender)


async def send_readiness(key: SetKey, announced: Sequence[tuple[int, str]], *, sets: Sets, sender: Sender) -> None:
    """Send what was announced, each by version and rule, and note that it was."""
    messages = [RuleReady(tenant=key.tenant, business_date=key.business_date, version=one, rule=rule) for one, rule in announced]
    # Of one key: all are on their way to one partition before the first is acknowledged.
    await asyncio.gather(*(sender.send("readiness", key=one.key, value=one.encode()) for one in messages))
    if announced:
        await sets.mark_readiness_sent(key, announced)
