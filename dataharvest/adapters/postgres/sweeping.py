"""What a sweep looks at in PostgreSQL, and whose turn it is to sweep."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
from pydantic import ValidationError

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.delivery_rows import lease_of
from dataharvest.adapters.postgres.frozen import end_frozen_sessions
from dataharvest.adapters.postgres.notifications import add_notification
from dataharvest.contracts import Contract
from dataharvest.deliveries import Announcement, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import Position
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import Note
from dataharvest.sql import queries
from dataharvest.sweeping import Due, Gap, SentBatch

logger = logging.getLogger(__name__)

_SQL = queries("operations")


class PostgresSweepState:
    """The port ``SweepState`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """See the port."""
        async with self._database.session() as connection:
            # The lock goes with the session.
            yield await connection.fetchval(_SQL["try_sweep"])

    async def now(self) -> datetime:
        """See the port."""
        async with self._database.connection() as connection:
            moment: datetime = await connection.fetchval(_SQL["clock"])
        return moment

    async def wake_for_unread(self) -> int:
        """See the port."""
        async with self._database.connection() as connection:
            [found] = await connection.fetch(_SQL["unread_deliveries"])
            if found["is_held"]:
                # Splitters look every few seconds, and pass over what is locked: whoever holds the lock is asleep.
                await end_frozen_sessions(connection)
            if found["delivery_count"]:
                await connection.execute(_SQL["wake_splitters"])
        return int(found["delivery_count"])

    async def overdue_readiness(self) -> list[SetKey]:
        """See the port."""
        return [SetKey(*row) for row in await self._rows("stale_readiness")]

    async def unplanned_rules(self) -> list[RuleReady]:
        """See the port."""
        return [RuleReady(**row) for row in await self._rows("unplanned_rules")]

    async def tenants_with_overdue_batches(self) -> list[str]:
        """See the port."""
        return [row["tenant"] for row in await self._rows("tenants_with_stale_batches")]

    async def silent_batches(self) -> list[SentBatch]:
        """See the port."""
        return [SentBatch(_batch(row), _position(row)) for row in await self._rows("silent_batches")]

    async def unsent_outbound(self) -> list[Batch]:
        """See the port."""
        return [_batch(row) for row in await self._rows("unsent_outbound")]

    async def untold_rules(self, rules: Iterable[Rule]) -> list[Batch]:
        """See the port."""
        provided = {rule.name: rule.provides for rule in rules}
        return [_batch(row) for row in await self._rows("untold_rules", list(provided), list(provided.values()))]

    async def idle_sets(self) -> list[SetKey]:
        """See the port."""
        return [SetKey(*row) for row in await self._rows("idle_sets")]

    async def untold_deliveries(self) -> list[Announcement]:
        """See the port."""
        return [Announcement(**row) for row in await self._rows("untold_deliveries")]

    async def gaps(self) -> list[Gap]:
        """See the port."""
        return [
            Gap(lease_of(row), {int(partition): offset for partition, offset in row["sent_offsets"].items()})
            for row in await self._rows("gaps")
        ]

    async def cutoffs(self) -> list[Due]:
        """See the port."""
        found = []
        for row in await self._rows("cutoffs"):
            try:
                found.append(Due(row["tenant"], Contract.model_validate(row["content"]).due_at, row["since"]))
            except ValidationError:
                # Every delivery of the tenant says so too; the other tenants' sets are looked at all the same.
                logger.error("contract cannot be read", extra={"tenant": row["tenant"]})
        return found

    async def mark_late(self, key: SetKey, due_at: datetime, note: Note) -> bool:
        """See the port."""
        async with self._database.transaction() as connection:
            is_marked = bool(await connection.fetch(_SQL["mark_late"], *key, due_at))
            if is_marked:
                await add_notification(connection, key, note)
        return is_marked

    async def _rows(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(_SQL[name], *arguments)
        return rows


def _batch(row: asyncpg.Record) -> Batch:
    return Batch(**{name: row[name] for name in ("tenant", "business_date", "version", "rule", "batch", "batch_count")})


def _position(row: asyncpg.Record) -> Position | None:
    return None if row["topic_offset"] is None else Position("work", row["topic_partition"], row["topic_offset"])
