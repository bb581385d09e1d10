"""What a sweep is shown, in memory and in PostgreSQL: what is overdue, and nothing that is young or as it should be."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_sweeping import MemorySweepState
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.outbound import all_outbound
from dataharvest.ports import Position
from dataharvest.rulebook import all_rules
from dataharvest.rules.notifying import late_note
from dataharvest.rules.outbound_messages import Envelope, changed_messages
from dataharvest.sweeping import SentBatch, SweepState
from tests.agents.losses import journey, remembered, swept
from tests.agents.test_slices import STRAYS, sliced
from tests.contract.database_world import DatabaseWorld
from tests.contract.ledgers import ACCOUNTS, DAY, POSITION, Ledger, chunks_of, sealing_of

KEY = SetKey("acme", DAY)
READY = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
PLACE = Position("work", 2, 11)
STATEMENTS = (
    "UPDATE readiness SET decided_at = decided_at - interval '1 hour', sent_at = sent_at - interval '1 hour'",
    "UPDATE batch SET planned_at = planned_at - interval '1 hour', sent_at = sent_at - interval '1 hour', "
    "computed_at = computed_at - interval '1 hour', done_at = done_at - interval '1 hour'",
    "UPDATE outbound_message SET created_at = created_at - interval '1 hour'",
    "UPDATE set_version SET created_at = created_at - interval '1 hour'",
    "UPDATE delivery SET registered_at = registered_at - interval '1 hour', sealed_at = sealed_at - interval '1 hour', "
    "announced_at = announced_at - interval '1 hour', judgement_sent_at = judgement_sent_at - interval '1 hour'",
    "UPDATE manifest SET registered_at = registered_at - interval '1 hour'",
    "UPDATE chunk SET committed_at = committed_at - interval '1 hour'",
    "UPDATE notification SET created_at = created_at - interval '1 hour'",
)


@pytest.fixture
def sweep_state(ledger: Ledger) -> Callable[[], SweepState]:
    """What each of several workers has."""
    if database := ledger.database:
        return lambda: PostgresSweepState(database)
    assert ledger.rows is not None
    assert isinstance(ledger.deliveries, MemoryDeliveries)
    shared = MemorySweepState(ledger.rows, ledger.deliveries.lease_of)
    return lambda: shared


async def make_old(ledger: Ledger) -> None:
    """Let everything be from an hour ago; in memory nothing is too young."""
    if ledger.database:
        async with ledger.database.connection() as connection:
            for statement in STATEMENTS:
                await connection.execute(statement)


def ready_for(rule: str) -> RuleReady:
    return RuleReady(tenant="acme", business_date=DAY, version=1, rule=rule)


async def dead_letter_the_first(ledger: Ledger) -> None:
    """Dead-letter the message at the beginning of ``work``'s first partition."""
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        await connection.execute(
            "INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason) "
            "VALUES ('work', 0, 0, 'work', 'crashed_worker', '')"
        )


def batch_of(rule: str, index: int = 0, count: int = 1) -> Batch:
    return Batch(tenant="acme", business_date=DAY, version=1, rule=rule, batch=index, batch_count=count)


async def test_one_worker_sweeps_at_a_time(sweep_state: Callable[[], SweepState]) -> None:
    for _ in range(2):
        async with sweep_state().turn() as first, sweep_state().turn() as second:
            assert (first, second) == (True, False)


async def test_an_empty_ledger_shows_nothing(sweep_state: Callable[[], SweepState]) -> None:
    assert await everything(sweep_state()) == []


async def everything(state: SweepState) -> list[object]:
    """All that there is to repair."""
    return [
        *await state.overdue_readiness(),
        *await state.unplanned_rules(),
        *await state.tenants_with_overdue_batches(),
        *await state.silent_batches(),
        *await state.unsent_outbound(),
        *await state.untold_rules(all_rules().values()),
        *await state.untold_deliveries(),
        *await state.gaps(),
        *([1] * await state.wake_for_unread()),
    ]


async def test_readiness_is_overdue_until_it_is_sent_and_then_until_it_is_planned(
    ledger: Ledger, sweep_state: Callable[[], SweepState]
) -> None:
    await ledger.version("acme")
    async with ledger.sets.locked(KEY) as locked:
        await locked.announce(1, all_rules()["tax"])
    await make_old(ledger)
    assert (await sweep_state().overdue_readiness(), await sweep_state().unplanned_rules()) == ([KEY], [])
    await ledger.sets.mark_readiness_sent(KEY, [(1, "tax")])
    await make_old(ledger)
    assert (await sweep_state().overdue_readiness(), await sweep_state().unplanned_rules()) == ([], [READY])
    await ledger.work.plan(READY, batch_count=2)
    assert await sweep_state().unplanned_rules() == []


async def test_batches_are_overdue_until_sent_and_silent_until_done(
    ledger: Ledger, sweep_state: Callable[[], SweepState]
) -> None:
    await ledger.version("acme")
    await ledger.work.plan(READY, batch_count=1)
    await make_old(ledger)
    assert (await sweep_state().tenants_with_overdue_batches(), await sweep_state().silent_batches()) == (["acme"], [])
    await ledger.work.mark_sent(batch_of("tax"), PLACE)
    await make_old(ledger)
    assert await sweep_state().tenants_with_overdue_batches() == []
    assert await sweep_state().silent_batches() == [SentBatch(batch_of("tax"), PLACE)]
    async with ledger.work.open_batch(batch_of("tax")) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    await make_old(ledger)
    assert await sweep_state().silent_batches() == []
    assert await sweep_state().untold_rules(all_rules().values()) == [batch_of("tax")]
    await ledger.sets.confirm_done(KEY, 1, all_rules()["tax"])
    assert await sweep_state().untold_rules(all_rules().values()) == []
    assert await sweep_state().idle_sets() == [KEY]


async def test_a_batch_that_was_dead_lettered_is_not_silent_and_leaves_its_place_to_the_next(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    await real_ledger.work.plan(READY, batch_count=3)
    for index in range(2):
        await real_ledger.work.mark_sent(batch_of("tax", index, 3), Position("work", 0, index))
    async with real_ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == []
    await dead_letter_the_first(real_ledger)
    await make_old(real_ledger)
    async with real_ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == [batch_of("tax", 2, 3)]
    silent = await PostgresSweepState(real_ledger.database).silent_batches()
    assert [one.batch for one in silent] == [batch_of("tax", 1, 3)]


async def test_outbound_messages_without_a_mark_are_found_in_a_published_version(
    ledger: Ledger, sweep_state: Callable[[], SweepState]
) -> None:
    await ledger.version("acme")
    rule = "outbound.clients"
    await ledger.work.plan(ready_for(rule), batch_count=1)
    contents = [{"reference": "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f"}]
    envelope = Envelope("acme", DAY, 1, "clients", all_outbound()[rule].reference_field)
    async with ledger.work.open_batch(batch_of(rule)) as locked:
        assert locked is not None
        await locked.store_outbound(list(changed_messages(contents, last={}, envelope=envelope)), kind="clients")
        await locked.mark_computed()
        opened = locked.opened
    await ledger.work.mark_sent(batch_of(rule), PLACE)
    await make_old(ledger)
    assert await sweep_state().unsent_outbound() == []
    assert [one.batch for one in await sweep_state().silent_batches()] == [batch_of(rule)]
    async with ledger.sets.locked(KEY) as locked_set:
        await locked_set.set_published(1)
    assert await sweep_state().unsent_outbound() == [batch_of(rule)]
    assert await sweep_state().silent_batches() == []
    await ledger.work.mark_done(opened, batch_of(rule))
    assert await sweep_state().unsent_outbound() == []
    assert await ledger.work.unsent_outbound(opened, batch_of(rule), kind="clients") == []


async def test_a_message_that_its_published_version_did_without_is_not_made_late(
    ledger: Ledger, sweep_state: Callable[[], SweepState]
) -> None:
    await ledger.version("acme")
    rule = "outbound.clients"
    await ledger.work.plan(ready_for(rule), batch_count=1)
    await ledger.work.mark_sent(batch_of(rule), PLACE)
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_published(1)
    await make_old(ledger)
    assert await sweep_state().unsent_outbound() == []


async def test_messages_whose_batch_was_dead_lettered_are_left_to_whoever_repairs_it(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    rule, state = "outbound.clients", PostgresSweepState(real_ledger.database)
    await real_ledger.work.plan(ready_for(rule), batch_count=1)
    async with real_ledger.work.open_batch(batch_of(rule)) as batch:
        assert batch is not None
        await batch.mark_computed()
    await real_ledger.work.mark_sent(batch_of(rule), Position("work", 0, 0))
    async with real_ledger.sets.locked(KEY) as locked:
        await locked.set_published(1)
    await make_old(real_ledger)
    assert await state.unsent_outbound() == [batch_of(rule)]
    await dead_letter_the_first(real_ledger)
    assert await state.unsent_outbound() == []


async def test_a_sealed_delivery_shows_a_gap_until_its_chunks_are_stored_and_then_waits_to_be_concluded(
    ledger: Ledger, sweep_state: Callable[[], SweepState]
) -> None:
    lease = await ledger.lease("acme")
    await ledger.deliveries.note_sent(lease, {3: 17, 5: 2})
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    await ledger.deliveries.mark_announced(lease.delivery_id)
    chunks = chunks_of(lease, ACCOUNTS)
    for metadata, checked in chunks:
        await make_old(ledger)
        [gap] = await sweep_state().gaps()
        assert (gap.lease, gap.sent_offsets) == (lease, {3: 17, 5: 2})
        assert await sweep_state().untold_deliveries() == []
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    await make_old(ledger)
    assert await sweep_state().gaps() == []
    [told] = await sweep_state().untold_deliveries()
    assert (told.delivery_id, told.state, told.chunk_count) == (lease.delivery_id, "sealed", len(chunks))


async def test_what_just_happened_is_not_overdue(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    async with real_ledger.sets.locked(KEY) as locked:
        await locked.announce(1, all_rules()["tax"])
    await real_ledger.work.plan(READY, batch_count=2)
    await real_ledger.work.mark_sent(batch_of("tax", 0, 2), PLACE)
    await real_ledger.work.plan(READY.model_copy(update={"rule": "transactions"}), batch_count=1)
    async with real_ledger.work.open_batch(batch_of("transactions")) as locked_batch:
        assert locked_batch is not None
        await locked_batch.mark_computed(is_done=True)
    lease = await real_ledger.lease("zen")
    assert await real_ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    state = PostgresSweepState(real_ledger.database)
    assert await everything(state) == []
    assert await state.idle_sets() == []


async def test_gaps_of_a_delivery_of_which_a_chunk_came_lately_are_left_alone(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    lease = await real_ledger.lease("acme")
    assert await real_ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    await make_old(real_ledger)
    metadata, checked = chunks_of(lease, ACCOUNTS)[0]
    await real_ledger.chunks.persist(metadata, checked, position=POSITION)
    assert await PostgresSweepState(real_ledger.database).gaps() == []


async def test_lapsed_leases_are_counted_and_wake_the_splitters(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    state = PostgresSweepState(real_ledger.database)
    async with real_ledger.deliveries.wake_ups() as woken:
        await real_ledger.register("acme")
        assert await real_ledger.hasty_deliveries.lease() is not None
        while not await state.wake_for_unread():
            woken.clear()
        await woken.wait()


async def test_a_set_without_a_version_at_its_cut_off_is_late_once(ledger: Ledger, sweep_state: Callable[[], SweepState]) -> None:
    due = datetime(2026, 11, 23, 18, tzinfo=UTC)
    note = late_note("zen", DAY, due_at=due)
    assert await sweep_state().mark_late(SetKey("zen", DAY), due, note)
    assert not await sweep_state().mark_late(SetKey("zen", DAY), due, note)
    await ledger.version("acme")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert not await sweep_state().mark_late(KEY, tomorrow, late_note("acme", DAY, due_at=tomorrow))
    async with ledger.notifications.to_send() as turn:
        assert [(one.tenant, one.type) for one in turn.notifications] == [("zen", "set_late")]


async def test_cut_offs_come_from_the_newest_contracts(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    contracts, state = PostgresContracts(real_ledger.database), PostgresSweepState(real_ledger.database)
    punctual = Contract.model_validate({"cutoff": {"time": "18:00", "zone": "UTC"}})
    await contracts.apply("acme", punctual)
    await contracts.apply("zen", punctual)
    await contracts.apply("zen", Contract(delimiter=";"))
    [due] = await state.cutoffs()
    assert (due.tenant, due.due_at(DAY)) == ("acme", datetime(2026, 11, 23, 18, tzinfo=UTC))
    assert abs(due.since - await state.now()) < timedelta(minutes=5)


async def test_a_set_in_slices_that_another_contract_unblocks_goes_on(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    world = DatabaseWorld(real_ledger, real_ledger.database)
    async with world.agents() as agents:
        await sliced(world, agents, STRAYS)
        await journey(world, agents)
        assert world.outbound() == []
        await world.services.contracts.apply("acme", Contract(orphans_block=()))
        await make_old(real_ledger)
        assert (await swept(world))["rules to be concluded"] == 1
        await journey(world, agents)
    assert {one.topic for one in world.outbound()} == {"outbound.clients", "outbound.portfolios"}
    assert remembered(world) == {}
