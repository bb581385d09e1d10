"""Removal of rows that nobody needs any more, in PostgreSQL."""

from dataharvest.adapters.postgres.connection import Database
from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.sql import queries

_SQL = queries("removal")
_OF_SET = "AND d.tenant = $1 AND d.business_date = $2"


class PostgresRemovals:
    """The port ``Removals`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, key: SetKey | None = None) -> list[int]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["due"].replace("{of_set}", _OF_SET if key else ""), *(key or ()))
        return [row["delivery_id"] for row in rows]

    async def remove(self, delivery_id: int) -> bool:
        """See the port."""
        async with self._database.transaction() as connection:
            entity = await connection.fetchval(_SQL["lock_removable"], delivery_id)
            if entity is None:
                return False
            await connection.execute(f"DELETE FROM {all_entities()[entity].table} WHERE delivery_id = $1", delivery_id)
            await connection.execute(_SQL["remove_links"], delivery_id)
            await connection.execute(_SQL["remove_values"], delivery_id)
            await connection.execute(_SQL["removed"], delivery_id)
        return True
