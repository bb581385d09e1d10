"""What the indexes of the row tables know of the rows that were loaded last."""

import json
import logging
import time

import asyncpg

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.entities import all_entities
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("summaries")
_RANGE_BLOCKS = 128
"""Blocks that one entry of a BRIN index stands for, as PostgreSQL has it by default."""
_PAUSE_S = 0.5
"""What is loaded meanwhile is read through quickly."""
_CHECK_S = 60.0
"""Time after which an index is looked at for ranges that were left half told."""


class Summaries:
    """Keeps the BRIN indexes up with what is loaded.

    An index knows nothing of what was added since the last vacuum, so whoever looks for a delivery goes through all of that:
    every query of a small tenant through the millions of rows that a large one has just loaded. To summarize costs one pass.

    A vacuum or a worker that is cancelled and a server that dies while they summarize leave the range they were at half told,
    and nobody tells it again. Every query reads such a range and, in PostgreSQL 18, all that come after it. So that is looked
    for, too.
    """

    def __init__(self, database: Database, *, pause_s: float = _PAUSE_S, check_s: float = _CHECK_S) -> None:
        self._database = database
        self._pause_s = pause_s
        self._check_s = check_s
        self._due_at = 0.0
        self._known: dict[str, int] = {}
        """By table, the block from which on it was not looked at yet, or may have been added to since."""
        self._checked_at: dict[str, float] = {}
        self._told_anew: dict[str, int] = {}
        """By table, the last block from which on a range was told anew, until a check found the index sound."""

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
                await self._refresh_one(connection, row["name"], last, now)

    async def _refresh_one(self, connection: Connection, table: str, last: int, now: float) -> None:
        first = self._known.get(table, -1)
        is_check_due = now >= self._checked_at.get(table, 0.0) + self._check_s
        if first == last and not is_check_due:
            return
        try:
            async with connection.transaction():
                if not await connection.fetchval(_of(table, "is_free")):
                    return
                await connection.execute(_of(table, "lock"))
                # From the start where it was not looked at before, or was cut short.
                begin = first if 0 <= first <= last else 0
                await connection.fetchval(_of(table, "summarize"), begin, last, _RANGE_BLOCKS)
                self._known[table] = last
                if is_check_due:
                    await self._check(connection, table, last, now)
        except asyncpg.LockNotAvailableError:
            logger.debug("a vacuum began a moment ago", extra={"table": table})

    async def _check(self, connection: Connection, table: str, last: int, now: float) -> None:
        block = await _tell_anew(connection, table, last)
        if block is None:
            self._told_anew.pop(table, None)
        elif block > self._told_anew.get(table, -1):
            # There may be another one behind it, and one that is only missing is found by going through all.
            self._told_anew[table] = block
            self._known.pop(table, None)
            return
        self._checked_at[table] = now


async def _tell_anew(connection: Connection, table: str, known: int) -> int | None:
    """Tell the first range anew, up to this block, of which the index does not tell; its block, or None if there is none."""
    before = await _block_count(connection, table)
    await connection.execute(_SQL["use_the_index"])
    plan = json.loads(await connection.fetchval(_of(table, "explain_unknown")))
    unknown: int = plan[0]["Plan"]["Plans"][0].get("Lossy Heap Blocks", 0)
    after = await _block_count(connection, table)
    if unknown <= after - known:
        return None
    # All from there on is read, and blocks were added meanwhile.
    first, last = (count - unknown for count in (before, after))
    await connection.execute(_of(table, "summarize_anew"), max(0, first) // _RANGE_BLOCKS * _RANGE_BLOCKS, last, _RANGE_BLOCKS)
    logger.warning("range of an index told anew", extra={"table": table, "block": first, "unknown_blocks": unknown})
    return first


async def _block_count(connection: Connection, table: str) -> int:
    (row,) = await connection.fetch(_SQL["block_counts"], [table])
    count: int = row["block_count"]
    return count


def _of(table: str, query: str) -> str:
    return _SQL[query].replace("{table}", table)
