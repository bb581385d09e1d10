"""The quarantine in PostgreSQL: what is in it, what was done about it, and deliveries locked for repair."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.delivery_rows import source_of
from dataharvest.adapters.postgres.locked_repair import LockedRepair
from dataharvest.adapters.postgres.quarantine_rows import arguments, read_entries
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.quarantine import Entry, EntryCount, HistoryLine, Selection
from dataharvest.repairs import Repairable, not_repairable, unknown_delivery
from dataharvest.sql import queries

_SQL = queries("quarantine")
_SETS = queries("sets")


class _OnlyPlanned(Exception):
    """Undoes what was only tried."""


class PostgresQuarantine:
    """The port ``Quarantine`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self, selection: Selection) -> list[EntryCount]:
        """See the port."""
        async with self._database.connection() as connection:
            return [EntryCount(**row) for row in await connection.fetch(_SQL["counts"], *arguments(selection))]

    async def entries(self, selection: Selection, *, limit: int | None = None) -> list[Entry]:
        """See the port."""
        async with self._database.connection() as connection:
            return await read_entries(connection, selection, limit=limit)

    async def history(self, selection: Selection, *, limit: int | None = None) -> list[HistoryLine]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["history"], *arguments(selection), limit)
        return [HistoryLine(**{name: value for name, value in row.items() if name != "repair_id"}) for row in rows]

    @asynccontextmanager
    async def repair(self, delivery_id: int, *, plan: bool) -> AsyncIterator[LockedRepair]:
        """See the port."""
        try:
            async with self._database.transaction() as connection:
                subject = await _lock(connection, delivery_id)
                yield LockedRepair(connection, subject)
                if plan:
                    raise _OnlyPlanned
        except _OnlyPlanned:
            return

    async def delivery(self, delivery_id: int) -> Repairable:
        """See the port."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["delivery"], delivery_id)
            if row is None:
                raise unknown_delivery(delivery_id)
            return await _repairable(connection, row)


async def _lock(connection: Connection, delivery_id: int) -> Repairable:
    known = await connection.fetchrow(_SQL["delivery"], delivery_id)
    if known is None:
        raise unknown_delivery(delivery_id)
    # The set before the delivery, as everybody does: what is decided about the set has to wait.
    await connection.fetchval(_SETS["lock_set"], known["tenant"], known["business_date"])
    row: Any = await connection.fetchrow(_SQL["lock_delivery"], delivery_id)
    newer = await connection.fetchrow(_SQL["newer"], delivery_id)
    if refusal := not_repairable(delivery_id, row["entity"], row["state"], newer=tuple(newer) if newer else None):
        raise refusal
    return await _repairable(connection, row)


async def _repairable(connection: Connection, row: Any) -> Repairable:
    names = ("delivery_id", "tenant", "business_date", "entity", "contract_version")
    chunks = await connection.fetch(_SQL["chunks"], row["delivery_id"])
    return Repairable(
        delivery=JudgedDelivery(source=source_of(row), **{name: row[name] for name in names}),
        chunks=[ChunkPlace(*one) for one in chunks],
    )
