"""What tenants promise: one splitter for each, pauses, chunks under way, batches in turn; in memory and in PostgreSQL."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Protocol

import pytest

from dataharvest.adapters.kafka import KafkaDeadLetters
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_tenants import MemoryTenants
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.tenants import PostgresTenants
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady, encode_chunk
from dataharvest.ports import Deliveries, Position
from dataharvest.tenants import ChunkKey, Tenants
from tests.contract.ledgers import ACCOUNTS, CHUNK_BYTES, CLIENTS, DAY, POSITION, Ledger, chunks_of, sealing_of


class Paused(Tenants, Protocol):
    """Tenants that a test can pause."""

    async def pause(self, tenant: str, *, reason: str) -> None: ...

    async def resume(self, tenant: str) -> bool: ...


@pytest.fixture
def tenants(ledger: Ledger) -> Paused:
    if ledger.database:
        return PostgresTenants(ledger.database)
    assert ledger.rows is not None
    return MemoryTenants(ledger.rows)


async def test_a_paused_tenant_gets_no_lease_until_it_is_resumed(ledger: Ledger, tenants: Paused) -> None:
    await ledger.register("acme")
    async with ledger.deliveries.wake_ups() as woken:
        for reason in ("audit", "another"):
            await tenants.pause("acme", reason=reason)
        assert await tenants.paused() == {"acme"}
        assert await ledger.deliveries.lease() is None
        await asyncio.wait_for(woken.wait(), 5)
        woken.clear()
        assert await tenants.resume("acme")
        await asyncio.wait_for(woken.wait(), 5)
    assert await tenants.paused() == frozenset()
    assert await ledger.deliveries.lease() is not None
    assert not await tenants.resume("acme")


def splitter(ledger: Ledger, owner: str) -> Deliveries:
    """Another splitter's view of the deliveries."""
    if ledger.database:
        return PostgresDeliveries(ledger.database, owner=owner, chunk_bytes=CHUNK_BYTES, lease_s=30)
    assert ledger.rows is not None
    return MemoryDeliveries(ledger.rows, owner=owner, chunk_bytes=CHUNK_BYTES, lease_s=30)


async def test_a_tenants_deliveries_are_leased_to_one_splitter_at_a_time(ledger: Ledger) -> None:
    first = await ledger.lease("acme")
    await ledger.register("acme", "clients")
    await ledger.register("zen")
    other = splitter(ledger, "other")
    leases = [await other.lease(), await other.lease()]
    assert [lease and lease.tenant for lease in leases] == ["zen", None]
    second = await ledger.deliveries.lease()
    assert second is not None and second.tenant == "acme"
    for lease in (first, second):
        assert await ledger.deliveries.renew(lease)
        assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS if lease is first else CLIENTS, lease=lease))
    await ledger.register("acme", "portfolios")
    third = await other.lease()
    assert third is not None and third.tenant == "acme"


async def test_a_tenant_gets_no_more_leases_than_asked_for(ledger: Ledger) -> None:
    for entity in ("accounts", "clients", "portfolios"):
        await ledger.register("acme", entity)
    assert await ledger.deliveries.lease(per_tenant=1) is not None
    assert await ledger.deliveries.lease(per_tenant=1) is None
    assert await ledger.deliveries.lease(per_tenant=2) is not None
    assert await ledger.deliveries.lease(per_tenant=2) is None


async def test_two_splitters_that_look_at_once_never_share_a_tenant(ledger: Ledger) -> None:
    for entity in ("accounts", "clients", "portfolios", "transactions"):
        await ledger.register("acme", entity)
    leases = await asyncio.gather(*(splitter(ledger, f"splitter {number}").lease() for number in range(4)))
    assert sum(lease is not None for lease in leases) == 1


async def test_chunks_land_when_they_are_stored_or_their_delivery_has_ended(ledger: Ledger, tenants: Paused) -> None:
    lease = await ledger.lease("acme")
    chunks = chunks_of(lease, ACCOUNTS)
    sent = {ChunkKey(lease.delivery_id, metadata.index): Position("chunks", 0, metadata.index) for metadata, _ in chunks}
    assert len(sent) > 1
    assert await tenants.landed(sent) == set()
    await ledger.chunks.persist(*chunks[0], position=POSITION)
    assert await tenants.landed(sent) == {ChunkKey(lease.delivery_id, 0)}
    assert await tenants.landed({}) == set()
    await ledger.deliveries.reject(lease.delivery_id, Rejected("no", rule="no"))
    assert await tenants.landed(dict.fromkeys(sent)) == set(sent)


async def test_chunks_of_sealed_deliveries_are_under_way_until_they_are_stored(ledger: Ledger, tenants: Paused) -> None:
    lease = await ledger.lease("acme")
    assert await tenants.in_flight("acme") == set()
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    chunks = chunks_of(lease, ACCOUNTS)
    assert await tenants.in_flight("acme") == {ChunkKey(lease.delivery_id, metadata.index) for metadata, _ in chunks}
    assert await tenants.in_flight("zen") == set()
    for metadata, checked in chunks:
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert await tenants.in_flight("acme") == set()


async def test_chunks_that_a_splitter_sent_before_it_died_are_under_way(ledger: Ledger, tenants: Paused) -> None:
    lease = await ledger.lease("acme")
    [*missing, last] = chunks_of(lease, ACCOUNTS + b"3,0014,1,EUR,0\n4,0015,1,EUR,0\n")
    assert len(missing) > 2
    await ledger.chunks.persist(*last, position=POSITION)
    assert await tenants.in_flight("acme") == {ChunkKey(lease.delivery_id, metadata.index) for metadata, _ in missing}
    await ledger.deliveries.release(lease)
    assert len(await tenants.in_flight("acme")) == len(missing)
    for metadata, checked in missing:
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert await tenants.in_flight("acme") == set()


async def test_a_dead_lettered_chunk_is_not_under_way_wherever_its_message_is(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    tenants = PostgresTenants(real_ledger.database)
    lease = await real_ledger.lease("acme")
    [(first, _), *others] = chunks_of(lease, ACCOUNTS)
    for metadata, checked in others:
        await real_ledger.chunks.persist(metadata, checked, position=POSITION)
    key = ChunkKey(lease.delivery_id, first.index)
    assert (await tenants.in_flight("acme"), await tenants.landed({key: None})) == ({key}, set())
    message = SimpleNamespace(key=first.key, value=encode_chunk(first, b"any"), headers=[])
    crashed = Rejected("no", rule="crashed_worker")
    dead_letters = KafkaDeadLetters(MemorySender(), real_ledger.database)
    await dead_letters.keep(Position("chunks", 3, 7), message=message, stage="persist", reason=crashed)
    assert (await tenants.in_flight("acme"), await tenants.landed({key: None})) == (set(), {key})


async def test_a_dead_lettered_chunk_has_landed(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    lease = await real_ledger.lease("acme")
    key = ChunkKey(lease.delivery_id, 0)
    async with real_ledger.database.connection() as connection:
        await connection.execute(
            "INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason) "
            "VALUES ('chunks', 3, 7, 'persist', 'crashed_worker', '')"
        )
    tenants = PostgresTenants(real_ledger.database)
    assert await tenants.landed({key: Position("chunks", 3, 8)}) == set()
    assert await tenants.landed({key: Position("chunks", 3, 7)}) == {key}


async def test_others_are_under_way_from_their_first_file_until_their_set_is_through(ledger: Ledger, tenants: Paused) -> None:
    async def seen() -> tuple[bool, bool]:
        return await tenants.others_under_way("acme"), await tenants.others_under_way("zen")

    await ledger.register("zen")
    assert await seen() == (False, False)
    lease = await ledger.deliveries.lease()
    assert lease is not None
    assert await seen() == (True, False)
    await ledger.deliveries.release(lease)
    assert await seen() == (False, False)
    lease = await ledger.deliveries.lease()
    assert lease is not None
    await ledger.store(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert await seen() == (True, False)
    await ledger.judgements.begin(lease.delivery_id)
    await ledger.judge(lease.delivery_id)
    assert await seen() == (False, False)
    async with ledger.sets.locked(SetKey("zen", DAY)) as locked:
        await locked.create_version(1, {"accounts": lease.delivery_id}, waived={"clients", "portfolios", "transactions"})
    assert await seen() == (True, False)
    async with ledger.sets.locked(SetKey("zen", DAY)) as locked:
        await locked.set_published(1)
    assert await seen() == (False, False)


@pytest.mark.parametrize("step", ["read", "sealed", "made"])
async def test_others_that_take_long_are_not_waited_for(ledger: Ledger, tenants: Paused, step: str) -> None:
    if step == "made":
        await ledger.version("zen", files={"accounts": ACCOUNTS})
    else:
        lease = await ledger.lease("zen")
        if step == "sealed":
            assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert await tenants.others_under_way("acme")
    await let_pass(ledger, seconds=4)
    assert await tenants.others_under_way("acme")
    await let_pass(ledger, seconds=7)
    assert not await tenants.others_under_way("acme")


async def let_pass(ledger: Ledger, *, seconds: int) -> None:
    """Let everything be as much older."""
    if ledger.rows:
        ledger.rows.clock = partial(lambda clock: clock() + seconds, ledger.rows.clock)
        return
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        ages = "registered_at = registered_at - make_interval(secs => $1), sealed_at = sealed_at - make_interval(secs => $1)"
        await connection.execute(f"UPDATE delivery SET {ages}", seconds)
        await connection.execute("UPDATE set_version SET created_at = created_at - make_interval(secs => $1)", seconds)


async def test_the_next_batches_of_a_tenant_wait_for_those_under_way(ledger: Ledger) -> None:
    await ledger.version("acme")
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
    await ledger.work.plan(ready, batch_count=3)
    batches = [Batch(**ready.model_dump(exclude={"type"}), batch=index, batch_count=3) for index in range(3)]
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == batches[:2]
        for batch in turn.batches:
            await turn.mark_sent(batch, Position("work", 0, batch.batch))
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == []
    async with ledger.work.open_batch(batches[0]) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == batches[2:]
    async with ledger.work.next_batches("zen", at_once=2) as turn:
        assert turn.batches == []


async def test_workers_that_choose_at_once_do_not_send_more_than_allowed(real_ledger: Ledger) -> None:
    await real_ledger.version("acme")
    await real_ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax"), batch_count=8)

    async def choose() -> int:
        async with real_ledger.work.next_batches("acme", at_once=2) as turn:
            for batch in turn.batches:
                await turn.mark_sent(batch, Position("work", 0, batch.batch))
        return len(turn.batches)

    assert sum(await asyncio.gather(*(choose() for _ in range(4)))) == 2


async def test_tenants_are_listed_with_what_they_have_under_way(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    tenants = PostgresTenants(real_ledger.database)
    await real_ledger.lease("acme")
    await real_ledger.register("zen")
    await tenants.pause("later", reason="not yet")
    listed = [(one.tenant, one.reason, one.set_count, one.waiting_count, one.reading_count) for one in await tenants.list()]
    assert listed == [("acme", None, 1, 0, 1), ("later", "not yet", 0, 0, 0), ("zen", None, 1, 1, 0)]
