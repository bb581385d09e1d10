"""PostgreSQL as a witness: its own connections, its own queries, nothing of the pipeline's code."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import asyncpg

from tests.kills.sets import COLUMNS, MONEY, Row

GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""What a query raises while PostgreSQL is down."""

_READY_OR_SENT = """
    SELECT v.tenant, v.version, r.rule, r.decided_at,
           (SELECT coalesce(sum(c.record_count), 0) FROM set_version_delivery s JOIN chunk c USING (delivery_id)
            WHERE s.set_version_id = v.set_version_id)::bigint AS stored_count
    FROM readiness r JOIN set_version v USING (set_version_id)
    WHERE r.decided_at > $1
"""


class Ledger:
    """Reads, and reconnects when PostgreSQL was away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """All rows; raises one of GONE while PostgreSQL is down."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url, timeout=10)
            try:
                return list(await self._connection.fetch(query, *arguments, timeout=60))
            except asyncpg.InternalClientError as error:
                # What asyncpg says of a connection that broke between two steps of its protocol.
                self._connection.terminate()
                raise ConnectionError("the connection to PostgreSQL broke") from error

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def stored(self, chunks: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which of these chunks (delivery, index) are in the ledger."""
        wanted = list(chunks)
        rows = await self.fetch(
            "SELECT delivery_id, chunk_index FROM chunk WHERE (delivery_id, chunk_index) IN "
            "(SELECT * FROM unnest($1::bigint[], $2::int[]))",
            [one[0] for one in wanted],
            [one[1] for one in wanted],
        )
        return {(row[0], row[1]) for row in rows}

    async def stored_record_count(self, tenants: Iterable[str]) -> int:
        """Records of these tenants in the ledger."""
        query = "SELECT coalesce(sum(record_count), 0)::bigint FROM chunk WHERE tenant = ANY($1)"
        return int((await self.fetch(query, list(tenants)))[0][0])

    async def chunk_count(self, tenants: Iterable[str]) -> int:
        """Chunks of these tenants in the ledger."""
        return int((await self.fetch("SELECT count(*) FROM chunk WHERE tenant = ANY($1)", list(tenants)))[0][0])

    async def dead_letters(self, topic: str, partition: int) -> set[int]:
        """Offsets of a partition whose messages were dead-lettered."""
        query = "SELECT topic_offset FROM dead_letter WHERE topic = $1 AND topic_partition = $2"
        return {row[0] for row in await self.fetch(query, topic, partition)}

    async def given_up(self) -> set[tuple[int, int]]:
        """Chunks (delivery, index) that were dead-lettered because they ended their workers."""
        query = "SELECT delivery_id, chunk_index FROM dead_letter WHERE rule = 'crashed_worker' AND chunk_index IS NOT NULL"
        return {(row[0], row[1]) for row in await self.fetch(query)}

    async def published(self, tenants: Iterable[str]) -> set[str]:
        """Tenants with a published set."""
        query = "SELECT tenant FROM set_version WHERE state = 'published' AND tenant = ANY($1)"
        return {row[0] for row in await self.fetch(query, list(tenants))}

    async def readiness_since(self, moment: Any) -> list[Any]:
        """Readiness decided after ``moment``, each with the records its set has in the ledger, in one snapshot."""
        return await self.fetch(_READY_OR_SENT, moment)

    async def rows(self, entity: str, delivery_id: int) -> Counter[Row]:
        """A delivery's rows as text, found by reading the whole table."""
        columns = ", ".join(COLUMNS[entity])
        await self.fetch("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name LIKE 'enable_%index%'")
        await self.fetch("SELECT set_config('enable_bitmapscan', 'off', false)")
        rows = await self.fetch(f"SELECT {columns} FROM row_{entity} WHERE delivery_id = $1", delivery_id)
        return Counter(comparable(entity, tuple("" if cell is None else str(cell) for cell in row)) for row in rows)


def comparable(entity: str, row: Row) -> Row:
    """The row with amounts in one spelling."""
    return tuple(
        str(Decimal(cell).quantize(Decimal("0.0001"))) if name in MONEY else cell
        for name, cell in zip(COLUMNS[entity], row, strict=True)
    )
