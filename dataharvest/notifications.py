"""What a tenant is told, and the ports that keep it until it was told: once on `notifications`, once at its webhook."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol
from uuid import UUID

from dataharvest.messages import Notification


class NotificationsToSend(Protocol):
    """Notifications that nobody else sends meanwhile."""

    notifications: list[Notification]

    def trace_of(self, notification_id: UUID) -> str | None:
        """The span of the decision that it is about, where one is kept."""

    async def mark_sent(self, notification_id: UUID) -> None:
        """It is in Kafka; kept when the block ends without an error."""


class Notifications(Protocol):
    """Notifications that the sets' decisions have left to be sent."""

    def to_send(self, *, limit: int = 100, age_s: float = 0.0) -> AbstractAsyncContextManager[NotificationsToSend]:
        """The oldest that were not sent, at least that old, and that nobody else is sending now."""


class WebhookCall(NamedTuple):
    """A notification that a tenant's webhook has to be told now."""

    notification_id: UUID
    tenant: str
    payload: bytes
    attempt: int
    """Which one this is, from 1."""
    age_s: float
    """Since it was queued."""


class WebhookCalls(Protocol):
    """Calls that are waiting. A call may be made twice: when its caller ends before it can say that it was accepted."""

    async def queue(self, notification: Notification, payload: bytes) -> None:
        """Let the webhook be told; nothing happens when it is queued already, or was told."""

    async def claim(self, *, limit: int, hold_s: float) -> Sequence[WebhookCall]:
        """Calls that are due, nobody else's for that long; at most one of a tenant, and none while one of it is under way."""

    async def accepted(self, notification_id: UUID) -> None:
        """The webhook has it."""

    async def failed(self, notification_id: UUID, *, reason: str, pause_s: float) -> None:
        """The webhook does not have it; it is due again after the pause."""

    async def given_up(self, notification_id: UUID, *, reason: str) -> None:
        """The webhook does not have it and is not told any more, unless somebody asks for it."""


class Caller(Protocol):
    """Makes calls over the network."""

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> str | None:
        """None when the webhook has accepted the body; else why not, in a few words. Takes ten seconds at most; never raises."""
