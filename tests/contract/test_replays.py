"""What replays need: a topic that can be read again, a place for their positions, and what the ledger knows of messages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from dataharvest.adapters.kafka_log import KafkaLog
from dataharvest.adapters.memory_log import MemoryLog, MemoryReplays
from dataharvest.adapters.memory_recompute import MemoryComputedSets
from dataharvest.adapters.memory_replay_ledger import MemoryReplayLedger
from dataharvest.adapters.postgres.recompute import PostgresComputedSets
from dataharvest.adapters.postgres.replay_ledger import PostgresReplayLedger
from dataharvest.adapters.postgres.replays import PostgresReplays
from dataharvest.deliveries import SetKey
from dataharvest.errors import Misconfigured, Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.quarantine import Signature
from dataharvest.replaying.log import Span, TopicLog
from dataharvest.replaying.ports import ReplayLedger, Replays
from dataharvest.replaying.recompute import ComputedSets
from dataharvest.replaying.requests import Part, Request
from dataharvest.tenants import ChunkKey
from tests.contract.ledgers import ACCOUNTS, CHUNK_BYTES, DAY, POSITION, START, Ledger, chunks_of, sealing_of
from tests.contract.test_sender import new_topic

EVERYTHING = Request(topic="chunks", from_offset=0)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic of two partitions and how to write to it."""

    log: TopicLog
    name: str
    write: Callable[..., Awaitable[None]]
    drop: Callable[..., Awaitable[None]]
    """Take away what lies before an offset."""


@pytest.fixture(params=["memory", "kafka"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("stack_environment")["DATAHARVEST_BROKER"])


@pytest.fixture
async def topic(broker: str | None) -> AsyncIterator[Topic]:
    if broker is None:
        memory = MemoryLog({"any": [[], []]})

        async def append(partition: int, *, key: bytes | None, value: bytes | None, at: datetime, headers: Any = ()) -> None:
            memory.write("any", partition, key=key, value=value, at=at, headers=headers)

        async def forget(partition: int, offset: int) -> None:
            memory.begins["any", partition] = offset

        yield Topic(log=memory, name="any", write=append, drop=forget)
        return
    name = await new_topic(broker, partitions=2)
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()

    async def write(partition: int, *, key: bytes | None, value: bytes | None, at: datetime, headers: Any = ()) -> None:
        moment = int(at.timestamp() * 1000)
        await producer.send_and_wait(name, value, key, partition=partition, timestamp_ms=moment, headers=list(headers))

    async def drop(partition: int, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        await admin.delete_records({TopicPartition(name, partition): RecordsToDelete(before_offset=offset)})
        await admin.close()

    yield Topic(log=KafkaLog(broker), name=name, write=write, drop=drop)
    await producer.stop()


NOW = datetime.now(UTC).replace(microsecond=0)


async def filled(topic: Topic) -> None:
    """Five messages a minute apart in partition 0, one in partition 1."""
    for number in range(5):
        headers = [("replayed_from", b"x:0:1")] if number == 4 else []
        await topic.write(0, key=b"k", value=b"%d" % number, at=NOW + timedelta(minutes=number), headers=headers)
    await topic.write(1, key=None, value=b"other", at=NOW)


async def read(topic: Topic, spans: dict[int, Span]) -> list[tuple[int, int, bytes | None]]:
    return [(one.position.partition, one.position.offset, one.value) async for one in topic.log.read(topic.name, spans)]


async def test_a_range_is_read_exactly(topic: Topic) -> None:
    await filled(topic)
    assert await topic.log.bounds(topic.name) == {0: Span(0, 5), 1: Span(0, 1)}
    assert await read(topic, {0: Span(1, 3)}) == [(0, 1, b"1"), (0, 2, b"2")]
    assert await read(topic, {0: Span(3, 3)}) == []
    assert await read(topic, {}) == []
    both = await read(topic, {0: Span(0, 5), 1: Span(0, 1)})
    assert sorted(both) == [(0, number, b"%d" % number) for number in range(5)] + [(1, 0, b"other")]
    assert [one for one in both if one[0] == 0] == sorted(one for one in both if one[0] == 0)


async def test_a_message_is_read_as_it_was_written(topic: Topic) -> None:
    await filled(topic)
    [last] = [one async for one in topic.log.read(topic.name, {0: Span(4, 5)})]
    assert (last.key, last.value, list(last.headers)) == (b"k", b"4", [("replayed_from", b"x:0:1")])
    assert last.byte_count == 2
    [keyless] = [one async for one in topic.log.read(topic.name, {1: Span(0, 1)})]
    assert keyless.key is None


async def test_a_moment_is_the_first_message_since_then(topic: Topic) -> None:
    await filled(topic)
    for moment, expected in (
        (NOW - timedelta(days=1), 0),
        (NOW + timedelta(minutes=2), 2),
        (NOW + timedelta(seconds=121), 3),
        (NOW + timedelta(hours=1), None),
    ):
        assert await topic.log.offsets_at(topic.name, moment, partitions=[0]) == {0: expected}
    assert await topic.log.offsets_at(topic.name, NOW, partitions=[]) == {}


async def test_what_was_dropped_is_not_read(topic: Topic) -> None:
    await filled(topic)
    await topic.drop(0, 3)
    assert (await topic.log.bounds(topic.name))[0] == Span(3, 5)
    assert await read(topic, {0: Span(0, 4)}) == [(0, 3, b"3")]
    assert await topic.log.offsets_at(topic.name, NOW, partitions=[0]) == {0: 3}


async def test_a_topic_that_is_not_there_is_a_misconfiguration(topic: Topic) -> None:
    with pytest.raises(Misconfigured):
        await topic.log.bounds("no-such-topic")


@pytest.fixture
def replays(ledger: Ledger) -> Replays:
    return PostgresReplays(ledger.database) if ledger.database else MemoryReplays()


async def test_a_replay_keeps_what_was_asked_for_and_how_far_it_is(replays: Replays) -> None:
    request = Request(topic="chunks", from_time=NOW, tenant="acme", business_date=DAY)
    begun = await replays.begin(request, [Part(3, 5, 9, 5), Part(0, 0, 4, 0)], by="anna")
    assert (begun.request, begun.by_whom, begun.ended_at) == (request, "anna", None)
    assert begun.parts == (Part(0, 0, 4, 0), Part(3, 5, 9, 5))
    await replays.save(begun.replay_id, next_by_part={0: 2, 3: 9}, sent_count=5, sent_bytes=70)
    found = await replays.find(begun.replay_id)
    assert found is not None
    assert (found.parts, found.sent_count, found.sent_bytes) == ((Part(0, 0, 4, 2), Part(3, 5, 9, 9)), 5, 70)
    assert (found.left, found.total) == (2, 8)
    await replays.end(begun.replay_id)
    done = await replays.find(begun.replay_id)
    assert done is not None
    assert done.ended_at is not None


async def test_the_newest_replay_comes_first_and_an_unknown_one_is_none(replays: Replays) -> None:
    assert await replays.newest() == []
    first = await replays.begin(EVERYTHING, [], by="anna")
    second = await replays.begin(EVERYTHING, [Part(1, 0, 1, 0)], by="ben")
    assert [one.replay_id for one in await replays.newest()] == [second.replay_id, first.replay_id]
    assert await replays.find(second.replay_id + 1) is None


async def test_one_topic_is_replayed_by_one_at_a_time(replays: Replays) -> None:
    async with replays.alone("chunks") as first, replays.alone("chunks") as second, replays.alone("work") as other:
        assert (first, second, other) == (True, False, True)
    async with replays.alone("chunks") as again:
        assert again


@pytest.fixture
def known(ledger: Ledger) -> ReplayLedger:
    if ledger.database:
        return PostgresReplayLedger(ledger.database)
    assert ledger.rows is not None
    return MemoryReplayLedger(ledger.rows, chunk_bytes=CHUNK_BYTES)


async def test_of_sets_that_never_came_nothing_is_known(known: ReplayLedger) -> None:
    assert await known.arrival("acme", None) is None
    assert await known.object_keys("acme", DAY) == set()
    assert await known.spans("acme", DAY) == {}
    assert await known.chunks_in(EVERYTHING, None) == {}
    with pytest.raises(Rejected):
        await known.lease_of(1)


async def test_the_ledger_knows_where_a_sets_chunks_are(ledger: Ledger, known: ReplayLedger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS)
    await ledger.complete("other", "accounts", ACCOUNTS)
    span = Span(POSITION.offset, POSITION.offset + 1)
    assert await known.spans("acme", DAY) == {POSITION.partition: span}
    arrival = await known.arrival("acme", DAY)
    assert arrival is not None
    assert arrival.modified_at == START
    assert await known.object_keys("acme", DAY) == {"acme/accounts_20261123.csv"}
    assert await known.sets_of([delivery_id]) == {delivery_id: SetKey("acme", DAY)}
    assert await known.sets_of_keys(["acme/accounts_20261123.csv"]) == {delivery_id: SetKey("acme", DAY)}
    lease = await known.lease_of(delivery_id)
    assert (lease.tenant, lease.business_date, lease.entity, lease.chunk_bytes) == ("acme", DAY, "accounts", CHUNK_BYTES)


async def test_chunks_are_found_by_set_and_by_place(ledger: Ledger, known: ReplayLedger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS)
    other_id = await ledger.complete("other", "accounts", ACCOUNTS)
    of_acme = Request(topic="chunks", tenant="acme")
    found = await known.chunks_in(of_acme, None)
    assert list(found) == [delivery_id]
    assert list(found[delivery_id].indexes) == [0, 1]
    assert found[delivery_id].byte_count == len(ACCOUNTS) - ACCOUNTS.index(b"\n") - 1
    at = POSITION.offset
    assert set(await known.chunks_in(EVERYTHING, {POSITION.partition: Span(at, at + 1)})) == {delivery_id, other_id}
    assert await known.chunks_in(EVERYTHING, {POSITION.partition: Span(0, at)}) == {}
    assert await known.chunks_in(EVERYTHING, {POSITION.partition + 1: Span(0, 1 << 40)}) == {}
    assert await known.chunks_in(EVERYTHING, {}) == {}


async def test_a_sealed_deliverys_missing_chunks_are_meant_too(ledger: Ledger, known: ReplayLedger) -> None:
    lease = await ledger.lease("acme")
    first, _ = chunks_of(lease, ACCOUNTS)
    await ledger.chunks.persist(*first, position=POSITION)
    assert await known.chunks_in(EVERYTHING, None) == {}
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    found = await known.chunks_in(EVERYTHING, None)
    assert {delivery: list(one.indexes) for delivery, one in found.items()} == {lease.delivery_id: [0, 1]}
    both = [ChunkKey(lease.delivery_id, 0), ChunkKey(lease.delivery_id, 1), ChunkKey(lease.delivery_id + 99, 0)]
    assert await known.chunks_that_act(both) == {ChunkKey(lease.delivery_id, 1)}
    key = SetKey("acme", DAY)
    assert await known.sets_that_go_on([key, SetKey("other", DAY)]) == {key}


async def test_a_message_acts_only_while_its_work_is_undone(ledger: Ledger, known: ReplayLedger) -> None:
    key = SetKey("acme", DAY)
    delivery_ids = await ledger.version("acme")
    chunk = ChunkKey(delivery_ids["accounts"], 0)
    assert await known.chunks_that_act([chunk]) == set()
    assert await known.judgements_that_act(list(delivery_ids.values())) == set()
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
    unknown = ready.model_copy(update={"version": 2})
    assert await known.rules_that_act([unknown, ready]) == [ready]
    await ledger.work.plan(ready, batch_count=1)
    assert await known.rules_that_act([ready]) == []
    batch = Batch(**ready.model_dump(exclude={"type"}), batch=0, batch_count=1)
    assert await known.batches_that_act([batch, batch.model_copy(update={"version": 2})]) == [batch]
    assert await known.sets_that_go_on([key]) == {key}
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    assert await known.batches_that_act([batch]) == []
    async with ledger.sets.locked(key) as one:
        await one.set_published(1)
    assert await known.sets_that_go_on([key]) == set()


@pytest.fixture
def computed(ledger: Ledger) -> ComputedSets:
    if ledger.database:
        return PostgresComputedSets(ledger.database)
    assert ledger.rows is not None
    return MemoryComputedSets(ledger.rows)


async def test_the_newest_version_says_which_logic_computed_it(ledger: Ledger, computed: ComputedSets) -> None:
    await ledger.version("acme")
    await ledger.version("other")
    [one] = await computed.find("sum_of_deposits", tenant="acme", day=None)
    assert (one.key, one.version, one.state, one.is_due) == (SetKey("acme", DAY), 1, "open", False)
    assert (one.logic_versions, one.batch_count) == ((), 0)
    await compute(ledger, "acme", logic_version=3)
    found = await computed.find("sum_of_deposits", tenant=None, day=DAY)
    assert [(one.key.tenant, one.logic_versions, one.batch_count) for one in found] == [("acme", (3,), 1), ("other", (), 0)]
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.set_published(1)
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.raise_edition()
    [one] = await computed.find("sum_of_deposits", tenant="acme", day=DAY)
    assert (one.state, one.is_due) == ("published", True)
    assert await computed.find("sum_of_deposits", tenant="nobody", day=None) == []


async def test_the_history_says_who_had_a_set_computed_again_and_which_version_came_of_it(
    ledger: Ledger, computed: ComputedSets
) -> None:
    made, anna = await ledger.version("acme"), Signature(who="anna", why="fees were taken for deposits")
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.raise_edition()
        await locked.note_recompute("sum_of_deposits", logic_version=2, by=anna)
    [pending] = await computed.history("sum_of_deposits", tenant=None, day=None, limit=10)
    assert (pending.key, pending.transformer, pending.logic_version) == (SetKey("acme", DAY), "sum_of_deposits", 2)
    assert (pending.version, pending.by) == (None, anna)
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.create_version(2, made)
        await locked.raise_edition()
        await locked.note_recompute("tax", logic_version=5, by=anna)
    found = await computed.history(None, tenant="acme", day=DAY, limit=10)
    assert [(one.transformer, one.version) for one in found] == [("sum_of_deposits", 2), ("tax", None)]
    assert [one.transformer for one in await computed.history(None, tenant=None, day=None, limit=1)] == ["tax"]
    assert await computed.history("tax", tenant="nobody", day=None, limit=10) == []


async def test_what_was_undone_leaves_no_history(ledger: Ledger, computed: ComputedSets) -> None:
    await ledger.version("acme")

    async def end_badly() -> None:
        async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
            await locked.raise_edition()
            await locked.note_recompute("tax", logic_version=2, by=Signature(who="anna", why="why"))
            raise Rejected("something else", rule="any")

    with pytest.raises(Rejected):
        await end_badly()
    assert await computed.history(None, tenant=None, day=None, limit=10) == []


async def compute(ledger: Ledger, tenant: str, *, logic_version: int) -> None:
    """Two values of a version's transformer."""
    ready = RuleReady(tenant=tenant, business_date=DAY, version=1, rule="sum_of_deposits")
    await ledger.work.plan(ready, batch_count=1)
    batch = Batch(**ready.model_dump(exclude={"type"}), batch=0, batch_count=1)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        references = ["90751f3a-0c6e-4a3e-9a55-1d2e3f405162", "a1b2c3d4-1111-4aaa-8bbb-0123456789ab"]
        values = pl.DataFrame({"reference": references, "fields": ['{"sum_of_deposits":"1.00"}'] * 2})
        await locked.store_values(values, transformer="sum_of_deposits", logic_version=logic_version)
        await locked.mark_computed(is_done=True)
