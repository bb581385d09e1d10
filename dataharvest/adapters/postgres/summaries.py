"""What the indexes of the row tables know of the rows that were loaded last."""

import time

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.entities import all_entities
from dataharvest.sql import queries

_SQL = queries("summaries")
_RANGE_BLOCKS = 128
"""Blocks that one entry of a BRIN index stands for, as PostgreSQL has it by default."""
_PAUSE_S = 0.5
"""What is loaded meanwhile is read through quickly."""


class Summaries:
    """Keeps the BRIN indexes up with what is loaded.

    An index knows nothing of what was added since the last vacuum, so whoever looks for a delivery goes through all of that:
    every query of a small tenant through the millions of rows that a large one has just loaded. To summarize costs one pass.
    """

    def __init__(self, database: Database, *, pause_s: float = _PAUSE_S) -> None:
        self._database = database
        self._pause_s = pause_s
        self._due_at = 0.0
        self._known: dict[str, int] = {}
        """By table, the block from which on it was not looked at yet, or may have been added to since."""

    async def refresh(self) -> None:
        """Let the indexes know of the rows that are there now, unless they did a moment ago or somebody else is at it."""
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + self._pause_s
        tables = [entity.table for entity in all_entities().values()]
        async with self._database.connection() as connection:
            for row in await connection.fetch(_SQL["block_counts"], tables):
                last = max(0, row["block_count"] - 1) // _RANGE_BLOCKS * _RANGE_BLOCKS
                await self._summarize(connection, row["name"], last)

    async def _summarize(self, connection: Connection, table: str, last: int) -> None:
        first = self._known.get(table, -1)
        if first == last:
            return
        query = _SQL["summarize"].replace("{table}", table)
        # From the start where it was not looked at before, or was cut short.
        if await connection.fetchval(query, first if 0 <= first < last else 0, last, _RANGE_BLOCKS):
            self._known[table] = last
