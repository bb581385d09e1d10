"""Tenants in PostgreSQL: pauses, and which of their chunks are under way."""

from collections.abc import Mapping

from dataharvest.adapters.postgres.connection import Database
from dataharvest.ports import Position
from dataharvest.sql import queries
from dataharvest.tenants import ChunkKey, TenantStatus

_SQL = queries("tenants")


class PostgresTenants:
    """The port ``Tenants`` on PostgreSQL, and what an operator may do to a tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def paused(self) -> frozenset[str]:
        """See the port."""
        async with self._database.connection() as connection:
            return frozenset(row["tenant"] for row in await connection.fetch(_SQL["paused"]))

    async def in_flight(self, tenant: str) -> set[ChunkKey]:
        """See the port."""
        async with self._database.connection() as connection:
            return {ChunkKey(*row) for row in await connection.fetch(_SQL["in_flight"], tenant)}

    async def landed(self, sent: Mapping[ChunkKey, Position | None]) -> set[ChunkKey]:
        """See the port."""
        columns = (
            [key.delivery_id for key in sent],
            [key.chunk_index for key in sent],
            [place.partition if place else None for place in sent.values()],
            [place.offset if place else None for place in sent.values()],
        )
        async with self._database.connection() as connection:
            return {ChunkKey(*row) for row in await connection.fetch(_SQL["landed"], *columns)}

    async def others_under_way(self, tenant: str) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_SQL["others_under_way"], tenant))

    async def pause(self, tenant: str, *, reason: str) -> None:
        """Let nothing of the tenant be split from the next chunk on; a tenant that has sent nothing yet may be paused too."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["pause"], tenant, reason)
            await connection.execute(_SQL["wake_splitters"])

    async def resume(self, tenant: str) -> bool:
        """Go on with the tenant's files; False when it was not paused."""
        async with self._database.transaction() as connection:
            resumed = await connection.fetchval(_SQL["resume"], tenant) is not None
            await connection.execute(_SQL["wake_splitters"])
        return resumed

    async def list(self) -> list[TenantStatus]:
        """Every tenant that has sent something or is paused."""
        async with self._database.connection() as connection:
            return [TenantStatus(*row) for row in await connection.fetch(_SQL["list"])]
