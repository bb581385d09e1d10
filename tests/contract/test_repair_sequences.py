"""The same mixes of repairs and corrections as on the fakes, on PostgreSQL: the conservation law holds in its tables."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.agents.test_repair_sequences import Record, Run, records, sequences
from tests.contract.database_world import DatabaseStory, DatabaseWorld
from tests.contract.ledgers import Ledger, postgres_ledger

NEWEST = "SELECT max(delivery_id) FROM delivery WHERE entity = 'transactions' AND state = 'complete'"
COUNTS = """
SELECT coalesce(sum(record_count), 0), coalesce(sum(persisted_count), 0), coalesce(sum(quarantined_count), 0),
       coalesce(sum(duplicate_count), 0), coalesce(sum(accepted_count), 0)
FROM chunk WHERE delivery_id = $1
"""
ROWS = "SELECT count(*) FROM row_transactions WHERE delivery_id = $1"
OPEN = "SELECT coalesce(sum(record_count), 0) FROM quarantine WHERE delivery_id = $1 AND state = 'open'"


class DatabaseRun(Run):
    """The database and the oracle, side by side."""

    def __init__(self, real: Ledger) -> None:
        assert real.database
        self._database = real.database
        super().__init__(DatabaseStory(DatabaseWorld(real, real.database)))

    async def stored(self) -> list[int]:
        """What the ledger counts; the rows and entries that are there have to be as many."""
        number = await self.newest_delivery_id()
        async with self._database.connection() as connection:
            row = await connection.fetchrow(COUNTS, number)
            assert row
            counts = [int(one) for one in row]
            assert [counts[1], counts[2]] == [await connection.fetchval(ROWS, number), await connection.fetchval(OPEN, number)]
        return counts

    async def newest_delivery_id(self) -> int:
        """Of the transactions."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(NEWEST))


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(first=records, sequence=sequences)
def test_any_mix_of_repairs_and_corrections_keeps_every_count_in_the_database(
    ledger_url: str, first: list[Record], sequence: list[tuple[Any, ...]]
) -> None:
    async def run() -> None:
        async with postgres_ledger(ledger_url) as real:
            await DatabaseRun(real).all(first, sequence)

    asyncio.run(run())
