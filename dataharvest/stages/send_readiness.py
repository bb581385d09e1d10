"""Send readiness: the effect of a decision, first a row and then the message."""

from dataharvest.deliveries import SetKey
from dataharvest.messages import RuleReady
from dataharvest.ports import Sender, Sets


async def send_unsent_readiness(key: SetKey, *, sets: Sets, sender: Sender) -> None:
    """Send what was announced and not sent, by whomever."""
    for version, rule in await sets.unsent_readiness(key):
        message = RuleReady(tenant=key.tenant, business_date=key.business_date, version=version, rule=rule)
        await sender.send("readiness", key=message.key, value=message.encode())
        await sets.mark_readiness_sent(key, version, rule)
