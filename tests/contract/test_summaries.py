"""The index of rows that were loaded a moment ago: one pass, and a delivery is found without going through the others."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.deliveries import ChunkOutcome
from dataharvest.errors import Unavailable
from tests.contract.ledgers import POSITION, Ledger, chunks_of

ROWS_OF_MANY_RANGES = 40_000
LOAD = """
INSERT INTO row_transactions (delivery_id, record_id, account_number, transaction_reference, amount, keyword)
SELECT $1, i, 'account', 'transaction ' || i, 1, 'FEE' FROM generate_series(1, $2) AS i
"""
MANY_DELIVERIES = """
INSERT INTO row_transactions (delivery_id, record_id, account_number, transaction_reference, amount, keyword)
SELECT d, i, 'account', 'transaction ' || i, 1, 'FEE' FROM generate_series(1, 1000) AS d, generate_series(1, 100) AS i
ORDER BY d
"""
READ_BY_ALL = "EXPLAIN (ANALYZE, TIMING OFF) SELECT count(*) FROM row_transactions WHERE delivery_id < 0"
FORGET = """
SELECT count(brin_desummarize_range('row_transactions_by_delivery', block))
FROM generate_series(0, pg_relation_size('row_transactions') / 8192, 128) AS block
"""
UNKNOWN = "SELECT brin_summarize_new_values('row_transactions_by_delivery')"

ONE_LONG_RANGE = """
DROP TABLE IF EXISTS long_range;
CREATE TABLE long_range (LIKE row_transactions) WITH (autovacuum_enabled = off);
INSERT INTO long_range (delivery_id) SELECT 1 FROM generate_series(1, 1000000);
DELETE FROM long_range WHERE ctid < '(10,0)'
"""
IS_BEING_SUMMARISED = """
SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'long_range'::regclass AND mode = 'ShareUpdateExclusiveLock' AND granted)
"""


@pytest_asyncio.fixture(autouse=True)
async def nobody_else_at_it(real_ledger: Ledger) -> AsyncIterator[None]:
    """The server's own vacuum does the same, at moments of its own."""
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        await connection.execute("ALTER TABLE row_transactions SET (autovacuum_enabled = off)")
    yield
    async with real_ledger.database.connection() as connection:
        await connection.execute("ALTER TABLE row_transactions RESET (autovacuum_enabled)")


async def load(database: Database, delivery_id: int, count: int) -> None:
    async with database.connection() as connection:
        await connection.execute(LOAD, delivery_id, count)


async def unknown_range_count(database: Database) -> int:
    """Ranges that nobody had looked at, and somebody has now."""
    async with database.connection() as connection:
        count: int = await connection.fetchval(UNKNOWN)
    return count


async def test_what_was_loaded_is_known_after_a_refresh_and_what_comes_later_after_the_next(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=0)
    for number in (1, 2):
        await load(database, number, ROWS_OF_MANY_RANGES)
        await summaries.refresh()
        assert await unknown_range_count(database) == 0
    await load(database, 3, ROWS_OF_MANY_RANGES)
    assert await unknown_range_count(database) > 0


async def test_what_was_known_a_moment_ago_is_not_asked_for_again(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=60)
    await summaries.refresh()
    await load(database, 1, ROWS_OF_MANY_RANGES)
    await summaries.refresh()
    assert await unknown_range_count(database) > 0


async def test_a_table_that_became_shorter_begins_anew(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=0)
    await load(database, 1, ROWS_OF_MANY_RANGES)
    await summaries.refresh()
    async with database.connection() as connection:
        await connection.execute("TRUNCATE row_transactions")
    await load(database, 2, ROWS_OF_MANY_RANGES // 2)
    await summaries.refresh()
    assert await unknown_range_count(database) == 0


@pytest.mark.parametrize(
    "mode",
    [
        "SHARE UPDATE EXCLUSIVE",
        # Not one of those that are looked for, so as if it came after the look: in the way of the lock that is taken.
        "SHARE",
    ],
)
async def test_a_vacuum_that_holds_the_table_is_not_waited_for(real_ledger: Ledger, mode: str) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=0)
    await load(database, 1, ROWS_OF_MANY_RANGES)
    async with database.transaction() as holding:
        await holding.execute(f"LOCK TABLE row_transactions IN {mode} MODE")
        await asyncio.wait_for(summaries.refresh(), timeout=3)
    # Not taken for done.
    await summaries.refresh()
    assert await unknown_range_count(database) == 0


async def read_by_all(database: Database) -> str:
    """The plan of a query for a delivery that is not there: it names the blocks that had to be read."""
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        return "\n".join(one[0] for one in await connection.fetch(READ_BY_ALL))


async def leave_half_told(database: Database) -> None:
    """Cut summarizing short, as a cancelled vacuum does, until a range is left that nobody tells again."""
    for milliseconds in range(3, 100, 3):
        async with database.connection() as connection:
            await connection.fetchval(FORGET)
        with suppress(Unavailable):
            async with database.connection() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
                await connection.fetchval(UNKNOWN)
        await unknown_range_count(database)
        if "lossy" in await read_by_all(database):
            return
    raise AssertionError("summarizing was never cut short within a range")


async def test_a_range_that_was_left_half_told_is_told_anew(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=0, check_s=0)
    await load(database, 1, 20 * ROWS_OF_MANY_RANGES)
    await leave_half_told(database)
    await load(database, 2, ROWS_OF_MANY_RANGES)
    await summaries.refresh()
    assert "lossy" not in await read_by_all(database)


async def test_a_chunk_of_many_rows_is_known_to_the_index_once_it_is_stored(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    content = b"record_id,account_number,transaction_reference,amount,keyword\n" + b"".join(
        b"%d,account,transaction %d,1,FEE\n" % (number, number) for number in range(ROWS_OF_MANY_RANGES)
    )
    lease = await real_ledger.lease("acme", "transactions")
    [chunk] = chunks_of(lease, content, chunk_bytes=3_000_000)
    assert await real_ledger.chunks.persist(*chunk, position=POSITION) is ChunkOutcome.STORED
    assert await unknown_range_count(real_ledger.database) == 0


async def test_an_index_is_not_looked_at_again_before_its_time(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    database, summaries = real_ledger.database, Summaries(real_ledger.database, pause_s=0, check_s=3600)
    await load(database, 1, 20 * ROWS_OF_MANY_RANGES)
    await summaries.refresh()
    await load(database, 2, 20 * ROWS_OF_MANY_RANGES)
    await leave_half_told(database)
    await summaries.refresh()
    assert "lossy" in await read_by_all(database)


async def test_few_rows_are_sampled_and_a_small_delivery_among_many_is_still_found_by_the_index(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        await connection.execute(MANY_DELIVERIES)
        await connection.fetchval(UNKNOWN)
        await connection.execute("ANALYZE row_transactions")
        plan = await connection.fetch("EXPLAIN SELECT * FROM row_transactions WHERE delivery_id = 777")
        targets = await connection.fetch(
            "SELECT DISTINCT attstattarget FROM pg_attribute WHERE attrelid = 'row_transactions'::regclass AND attnum > 0"
        )
    assert any("row_transactions_by_delivery" in one[0] for one in plan)
    assert [one[0] for one in targets] == [20]


BETWEEN_OTHERS = """
INSERT INTO row_transactions (delivery_id)
SELECT CASE WHEN i BETWEEN 250000 AND 250300 THEN 5 WHEN i % 2 = 0 THEN 1 ELSE 9 END FROM generate_series(1, 500000) AS i
"""


async def test_a_delivery_is_found_whatever_lies_between_its_number_and_others(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    async with real_ledger.database.transaction() as connection:
        await connection.execute(BETWEEN_OTHERS)
        await connection.fetchval(UNKNOWN)
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch("EXPLAIN (ANALYZE, TIMING OFF) SELECT FROM row_transactions WHERE delivery_id = 5::bigint")
    (blocks,) = re.findall(r"lossy=(\d+)", "\n".join(one[0] for one in plan))
    assert int(blocks) <= 2 * 128


@asynccontextmanager
async def long_range(database: Database) -> AsyncIterator[None]:
    """A table indexed as those of rows are, but that one range is all of it; its first blocks have room."""
    async with database.connection() as connection:
        await connection.execute(ONE_LONG_RANGE)
        await connection.execute("VACUUM long_range")
        index = await connection.fetchval("SELECT pg_get_indexdef('row_transactions_by_delivery'::regclass)")
        index = re.sub(r"INDEX \S+ ON \S+", "INDEX long_range_by_delivery ON long_range", index)
        index, replaced = re.subn(r" WITH \(autosummarize=\S+\)$", " WITH (pages_per_range = 131072)", index)
        assert replaced == 1, index
        await connection.execute(index)
        yield
        await connection.execute("DROP TABLE long_range")


async def add_while_summarised(database: Database, delivery_id: int) -> tuple[bool, bool]:
    """Add a row where summarising has been: whether that was still going on afterwards, and whether the index finds the row."""
    async with database.connection() as adding, database.connection() as summarising:
        await summarising.execute("SELECT brin_desummarize_range('long_range_by_delivery', 0)")
        told = asyncio.create_task(summarising.execute("SELECT brin_summarize_range('long_range_by_delivery', 0)"))
        while not await adding.fetchval(IS_BEING_SUMMARISED):
            assert not told.done()
        await asyncio.sleep(0.01)
        await adding.execute("INSERT INTO long_range (delivery_id) VALUES ($1)", delivery_id)
        is_meanwhile = not told.done()
        await told
        async with adding.transaction():
            await adding.execute("SET LOCAL enable_seqscan = off")
            is_found = await adding.fetchval("SELECT EXISTS (SELECT FROM long_range WHERE delivery_id = $1)", delivery_id)
    return is_meanwhile, is_found


async def test_rows_that_come_while_their_range_is_summarised_are_found(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    async with long_range(real_ledger.database):
        added = [await add_while_summarised(real_ledger.database, one) for one in range(2, 8)]
    assert all(is_found for _, is_found in added)
    assert sum(is_meanwhile for is_meanwhile, _ in added) > len(added) / 2
