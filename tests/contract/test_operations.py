"""What the journal promises, in memory and in PostgreSQL."""

import pytest

from dataharvest.adapters.memory_operations import MemoryJournal
from dataharvest.adapters.postgres.operations import PostgresJournal
from dataharvest.ports import AttemptJournal, Position
from tests.contract.ledgers import Ledger

FIRST, SECOND = Position("work", 0, 7), Position("work", 1, 7)


@pytest.fixture
def journal(ledger: Ledger) -> AttemptJournal:
    return PostgresJournal(ledger.database, run_id="me") if ledger.database else MemoryJournal()


async def test_attempts_are_counted_for_each_message_until_it_is_forgotten(journal: AttemptJournal) -> None:
    assert await journal.load() == ({}, False)
    for error in (None, "ValueError('x')", None):
        await journal.add(FIRST, error=error)
    await journal.add(SECOND, error=None)
    assert (await journal.load())[0] == {FIRST: 3, SECOND: 1}
    await journal.remove(FIRST)
    await journal.remove(FIRST)
    assert (await journal.load())[0] == {SECOND: 1}


async def test_a_run_that_ended_without_a_word_is_found(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    me = PostgresJournal(real_ledger.database, run_id="me")
    await me.start_run()
    polite = PostgresJournal(real_ledger.database, run_id="polite")
    await polite.start_run()
    await polite.end_run()
    assert not (await me.load())[1]
    await PostgresJournal(real_ledger.database, run_id="killed").start_run()
    assert (await me.load())[1]
    assert (await me.load())[1]


async def test_what_ended_its_workers_is_forgotten_a_day_after_its_dead_letter(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    journal = PostgresJournal(real_ledger.database, run_id="me")
    for position in (FIRST, SECOND):
        await journal.add(position, error=None)
    async with real_ledger.database.connection() as connection:
        await connection.execute(
            "INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason)"
            " VALUES ($1, $2, $3, 'work', 'crashed_worker', '')",
            *FIRST,
        )
    assert (await journal.load())[0] == {FIRST: 1, SECOND: 1}
    async with real_ledger.database.connection() as connection:
        await connection.execute("UPDATE attempt SET last_at = last_at - interval '2 days'")
    assert (await journal.load())[0] == {SECOND: 1}


async def test_chunks_that_ended_their_workers_are_named_until_they_are_replayed(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    journal = PostgresJournal(real_ledger.database, run_id="me")
    async with real_ledger.database.connection() as connection:
        for offset, (rule, index) in enumerate((("crashed_worker", 7), ("chunk_damaged", 8), ("crashed_worker", 9))):
            await connection.execute(
                "INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason, delivery_id, chunk_index)"
                " VALUES ('chunks', 0, $1, 'persist', $2, '', 4, $3)",
                *(offset, rule, index),
            )
    assert await journal.given_up() == {b"4:7", b"4:9"}
    async with real_ledger.database.connection() as connection:
        await connection.execute("UPDATE dead_letter SET state = 'replayed' WHERE chunk_index = 9")
    assert await journal.given_up() == {b"4:7"}
