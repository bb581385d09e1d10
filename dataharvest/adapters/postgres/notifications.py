"""Notifications and webhook calls in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from dataharvest import tracing
from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.deliveries import SetKey
from dataharvest.messages import Notification
from dataharvest.notifications import WebhookCall
from dataharvest.rules.notifying import Note
from dataharvest.sql import queries

_SQL = queries("notifications")


async def add_notification(connection: Connection, key: SetKey | tuple[str, None], note: Note) -> None:
    """Leave a notification to be sent, in the transaction of what it is about; one with its id stays as it is."""
    told = (note.kind, note.version, note.reason, tracing.traceparent())
    await connection.execute(_SQL["add"], note.notification_id, *key, *told)


class PostgresNotifications:
    """The port ``Notifications`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def to_send(self, *, limit: int = 100, age_s: float = 0.0) -> AsyncIterator["NotificationsToSend"]:
        """See the port."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_SQL["to_send"], limit, age_s)
            yield NotificationsToSend(connection, rows)


class NotificationsToSend:
    """Notifications whose rows are locked until the block ends."""

    def __init__(self, connection: Connection, rows: list[Any]) -> None:
        self._connection = connection
        self._traces: dict[UUID, str | None] = {row["notification_id"]: row["traceparent"] for row in rows}
        self.notifications = [_notification(row) for row in rows]

    def trace_of(self, notification_id: UUID) -> str | None:
        """See the port."""
        return self._traces[notification_id]

    async def mark_sent(self, notification_id: UUID) -> None:
        """See the port."""
        await self._connection.execute(_SQL["sent"], notification_id)


class PostgresWebhookCalls:
    """The port ``WebhookCalls`` on PostgreSQL, and what the command shows of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue(self, notification: Notification, payload: bytes) -> None:
        """See the port."""
        await self._execute("queue_call", notification.notification_id, notification.tenant, payload.decode())

    async def claim(self, *, limit: int, hold_s: float) -> Sequence[WebhookCall]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["claim"], limit, hold_s)
        return [
            WebhookCall(row["notification_id"], row["tenant"], row["payload"].encode(), row["attempt_count"], row["age_s"])
            for row in rows
        ]

    async def accepted(self, notification_id: UUID) -> None:
        """See the port."""
        await self._execute("accepted", notification_id)

    async def failed(self, notification_id: UUID, *, reason: str, pause_s: float) -> None:
        """See the port."""
        await self._execute("failed", notification_id, reason, pause_s)

    async def given_up(self, notification_id: UUID, *, reason: str) -> None:
        """See the port."""
        await self._execute("given_up", notification_id, reason)

    async def retry(self, tenant: str | None) -> int:
        """Let every call that was not accepted, of one tenant or of all, be made at once; how many."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(_SQL["retry"], tenant))

    async def pending(self, tenant: str | None) -> list[dict[str, Any]]:
        """Calls that wait or were given up, the oldest first, at most 200."""
        async with self._database.connection() as connection:
            return [dict(row) for row in await connection.fetch(_SQL["list_calls"], tenant)]

    async def accepted_count(self, tenant: str | None) -> int:
        """How many calls were accepted."""
        async with self._database.connection() as connection:
            count: int = await connection.fetchval(_SQL["accepted_count"], tenant)
        return count

    async def _execute(self, query: str, *arguments: Any) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_SQL[query], *arguments)


def _notification(row: Any) -> Notification:
    return Notification(
        tenant=row["tenant"],
        business_date=row["business_date"],
        type=row["kind"],
        notification_id=UUID(str(row["notification_id"])),
        version=row["version"],
        reason=row["reason"],
        at=row["created_at"],
    )
