"""Notify: what happened to a set is sent to `notifications`, and from there queued for its tenant's webhook."""

from dataharvest import tracing
from dataharvest.messages import decode_notification
from dataharvest.notifications import Notifications, WebhookCalls
from dataharvest.ports import Contracts, Sender
from dataharvest.rules.notifying import EVENTS


async def send_notifications(notifications: Notifications, *, sender: Sender, age_s: float = 0.0) -> int:
    """Send what was left to be sent, by whomever, at least that long ago; how many there were.

    Raises:
        Unavailable: PostgreSQL or Kafka is not there; what was not marked is sent again.
    """
    async with notifications.to_send(age_s=age_s) as turn:
        for one in turn.notifications:
            with tracing.continued(turn.trace_of(one.notification_id)):
                await sender.send("notifications", key=one.key, value=one.encode())
            await turn.mark_sent(one.notification_id)
    return len(turn.notifications)


async def notify(value: bytes, *, contracts: Contracts, calls: WebhookCalls) -> None:
    """Queue a notification for the tenant's webhook, if its contract has one that wants to know.

    Nothing is called here: a webhook that does not answer would hold up the tenants behind it.

    Raises:
        Rejected: the message can't be read, or the tenant's contract can't.
        Unavailable: PostgreSQL is not there.
    """
    notification = decode_notification(value)
    _, contract = await contracts.current(notification.tenant)
    if contract.webhook is not None and EVENTS[notification.type] in contract.webhook.events:
        await calls.queue(notification, value)
