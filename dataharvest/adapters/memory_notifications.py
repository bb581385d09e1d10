"""Notifications and webhook calls in memory: the fakes of their ports, under the same contract as PostgreSQL."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredNotification
from dataharvest.messages import Notification
from dataharvest.notifications import WebhookCall


class MemoryNotifications:
    """The port ``Notifications`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._taken: set[UUID] = set()

    @asynccontextmanager
    async def to_send(self, *, limit: int = 100, age_s: float = 0.0) -> AsyncIterator["MemoryNotificationsToSend"]:
        """See the port."""
        old = datetime.now(UTC) - timedelta(seconds=age_s)
        rows = {identity: one for identity, one in self._ledger.notifications.items() if one.created_at <= old}
        free = [identity for identity, one in rows.items() if not one.is_sent and identity not in self._taken][:limit]
        self._taken |= set(free)
        try:
            turn = MemoryNotificationsToSend([rows[identity] for identity in free])
            yield turn
            for identity in turn.sent:
                rows[identity].is_sent = True
        finally:
            self._taken -= set(free)


class MemoryNotificationsToSend:
    """Notifications that nobody else gets until the block ends."""

    def __init__(self, rows: list[StoredNotification]) -> None:
        self._traces = {row.note.notification_id: row.traceparent for row in rows}
        self.notifications = [_notification(row) for row in rows]
        self.sent: list[UUID] = []

    def trace_of(self, notification_id: UUID) -> str | None:
        """See the port."""
        return self._traces[notification_id]

    async def mark_sent(self, notification_id: UUID) -> None:
        """See the port."""
        self.sent.append(notification_id)


@dataclass
class StoredCall:
    """A call's row."""

    tenant: str
    payload: bytes
    queued_at: float
    next_try_at: float
    state: str = "waiting"
    attempt: int = 0
    held_until: float = 0.0
    failure: str | None = None


@dataclass
class MemoryWebhookCalls:
    """The port ``WebhookCalls`` without a server."""

    clock: Callable[[], float] = time.monotonic
    rows: dict[UUID, StoredCall] = field(default_factory=dict)

    async def queue(self, notification: Notification, payload: bytes) -> None:
        """See the port."""
        call = StoredCall(notification.tenant, payload, queued_at=self.clock(), next_try_at=self.clock())
        self.rows.setdefault(notification.notification_id, call)

    async def claim(self, *, limit: int, hold_s: float) -> Sequence[WebhookCall]:
        """See the port."""
        now = self.clock()
        found: list[WebhookCall] = []
        for identity, row in self.rows.items():
            busy = {one.tenant for one in self.rows.values() if one.state == "waiting" and one.held_until > now}
            if len(found) < limit and row.state == "waiting" and row.next_try_at <= now and row.tenant not in busy:
                row.attempt, row.held_until = row.attempt + 1, now + hold_s
                found.append(WebhookCall(identity, row.tenant, row.payload, row.attempt, now - row.queued_at))
        return found

    async def accepted(self, notification_id: UUID) -> None:
        """See the port."""
        self.rows[notification_id].state = "accepted"

    async def failed(self, notification_id: UUID, *, reason: str, pause_s: float) -> None:
        """See the port."""
        row = self.rows[notification_id]
        row.failure, row.held_until, row.next_try_at = reason, 0.0, self.clock() + pause_s

    async def given_up(self, notification_id: UUID, *, reason: str) -> None:
        """See the port."""
        row = self.rows[notification_id]
        row.state, row.failure = "given_up", reason


@dataclass
class MemoryCaller:
    """The port ``Caller`` without a network: answers as it is told, and keeps what it was given."""

    answer: Callable[[str], str | None] = lambda url: None
    received: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> str | None:
        """See the port."""
        self.received.append((url, body, dict(headers)))
        return self.answer(url)


def _notification(row: StoredNotification) -> Notification:
    tenant, business_date = row.key
    return Notification(
        tenant=tenant,
        business_date=business_date,
        type=row.note.kind,
        notification_id=row.note.notification_id,
        version=row.note.version,
        reason=row.note.reason,
        at=row.created_at,
    )
