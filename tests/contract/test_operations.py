"""What journal and sweep state promise, in memory and in PostgreSQL."""

from collections.abc import Callable

import pytest

from dataharvest.adapters.memory_operations import MemoryJournal, MemorySweepState
from dataharvest.adapters.postgres.operations import PostgresJournal, PostgresSweepState
from dataharvest.deliveries import SetKey
from dataharvest.messages import RuleReady
from dataharvest.ports import AttemptJournal, Position, SweepState
from dataharvest.rulebook import all_rules
from tests.contract.ledgers import DAY, Ledger

FIRST, SECOND = Position("work", 0, 7), Position("work", 1, 7)
READY = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")


@pytest.fixture
def journal(ledger: Ledger) -> AttemptJournal:
    return PostgresJournal(ledger.database, run_id="me") if ledger.database else MemoryJournal()


@pytest.fixture
def sweep_state(ledger: Ledger) -> Callable[[], SweepState]:
    """What each of several workers has."""
    if database := ledger.database:
        return lambda: PostgresSweepState(database)
    assert ledger.rows is not None
    shared = MemorySweepState(ledger.rows)
    return lambda: shared


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


async def test_one_worker_sweeps_at_a_time(sweep_state: Callable[[], SweepState]) -> None:
    for _ in range(2):
        async with sweep_state().turn() as first, sweep_state().turn() as second:
            assert (first, second) == (True, False)


async def make_old(ledger: Ledger) -> None:
    """Let everything be from an hour ago; in memory nothing is too young."""
    if ledger.database:
        async with ledger.database.connection() as connection:
            await connection.execute("UPDATE readiness SET decided_at = decided_at - interval '1 hour'")
            await connection.execute("UPDATE batch SET planned_at = planned_at - interval '1 hour'")


async def test_what_was_not_sent_in_time_is_overdue_until_it_is(ledger: Ledger, sweep_state: Callable[[], SweepState]) -> None:
    await ledger.version("acme")
    assert (await sweep_state().overdue_readiness(), await sweep_state().overdue_batches()) == ([], [])
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.announce(1, all_rules()["tax"])
    await ledger.work.plan(READY, batch_count=2)
    await make_old(ledger)
    assert await sweep_state().overdue_readiness() == [SetKey("acme", DAY)]
    assert await sweep_state().overdue_batches() == [READY]
    await ledger.sets.mark_readiness_sent(SetKey("acme", DAY), 1, "tax")
    for batch in await ledger.work.unsent(READY):
        await ledger.work.mark_sent(batch)
    assert (await sweep_state().overdue_readiness(), await sweep_state().overdue_batches()) == ([], [])


async def test_what_was_just_decided_is_not_overdue(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    async with real_ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.announce(1, all_rules()["tax"])
    await real_ledger.work.plan(READY, batch_count=2)
    state = PostgresSweepState(real_ledger.database)
    assert (await state.overdue_readiness(), await state.overdue_batches()) == ([], [])
