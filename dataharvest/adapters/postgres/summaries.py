"""What the index of a table knows of the rows that were loaded last."""

from dataharvest.adapters.postgres.connection import Database
from dataharvest.entities import Entity
from dataharvest.sql import queries

_SQL = queries("summaries")
_RANGE_BLOCKS = 128
"""Blocks that one entry of a BRIN index stands for, as PostgreSQL has it by default."""


class Summaries:
    """Keeps the BRIN indexes up with what is loaded.

    An index knows nothing of what was added since the last vacuum, so whoever looks for a delivery goes through all of that:
    every query of a small tenant through the millions of rows that a large one has just loaded. To summarize costs one pass.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, int] = {}
        """By table, the first block that was not looked at yet, or may have been added to since."""

    async def refresh(self, entity: Entity) -> None:
        """Let the index know of all rows that are there now, unless somebody else is at it."""
        async with self._database.connection() as connection:
            block_count: int = await connection.fetchval(_of(entity, "block_count"))
            last = max(0, block_count - 1) // _RANGE_BLOCKS * _RANGE_BLOCKS
            first = self._known.get(entity.table, 0)
            # A table that was cut short begins anew.
            first = 0 if first > last else first
            if (first < last or entity.table not in self._known) and await connection.fetchval(
                _of(entity, "summarize"), first, last, _RANGE_BLOCKS
            ):
                self._known[entity.table] = last


def _of(entity: Entity, name: str) -> str:
    return _SQL[name].replace("{table}", entity.table)
