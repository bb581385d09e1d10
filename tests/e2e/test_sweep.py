"""Pause, sweep and rebuild on the real services: whatever got lost, every set ends as its oracle says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from benchmarks.generator import write_transactions
from benchmarks.swept_load import EVERY_SECOND, load_under_sweeps
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.tenants import PostgresTenants
from dataharvest.topics import load_topics
from tests.kills.sets import FileSet, make_set
from tests.kills.workers import Worker
from tests.kills.world import World, eventually, world
from tests.programs import run_program

pytestmark = pytest.mark.asyncio(loop_scope="module")
WAIT_S = 90
CHANGELOG = "dataharvest-sets-changelog"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[World]:
    async with world() as one:
        yield one


async def run(made: World, *words: str) -> str:
    """A command's output."""
    done = await asyncio.to_thread(run_program, *words, environment=made.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def found_by_sweep(made: World) -> dict[str, int]:
    lines = [line.partition(": ") for line in (await run(made, "sweep", "--once")).splitlines()]
    return {kind: int(count.replace(",", "")) for kind, _, count in lines if count != "0"}


async def ask(made: World, statement: str, *arguments: object) -> object:
    connection = await asyncpg.connect(made.environment["DATAHARVEST_DATABASE_URL"])
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


async def bounds(made: World, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=made.environment["DATAHARVEST_BROKER"])
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(
            [TopicPartition(topic, number) for number in range(load_topics()[topic].partitions)]
        )
        return ends
    finally:
        await consumer.stop()


async def delete_messages(made: World, topic: str) -> None:
    """Let everything on the topic be gone, as if it had never been sent."""
    ends = {place: end for place, end in (await bounds(made, topic)).items() if end}
    admin = AIOKafkaAdminClient(bootstrap_servers=made.environment["DATAHARVEST_BROKER"])
    await admin.start()
    try:
        await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items()})
    finally:
        await admin.close()
    if topic == "chunks":
        # Their copies come behind them, and what was committed before a copy is stored is no loss of the worker's.
        made.witness.forget_chunk_messages({place.partition: end for place, end in ends.items()})


def a_set(name: str, *, file_bytes: int = 60_000) -> FileSet:
    return make_set(name, seed=name, file_bytes=file_bytes)


async def sound(made: World, *sets: FileSet) -> None:
    await made.settled(sets, within_s=WAIT_S)
    assert made.witness.violations.all() + made.crew.unexpected_ends() == []


def work(made: World, **settings: str) -> None:
    """Let a worker be at work."""
    if not made.crew.alive:
        made.crew.start(**settings)


async def end_workers(made: World) -> None:
    for worker in made.crew.alive:
        worker.ask_to_end()
        assert await worker.ended(within_s=20) == 0


async def test_a_paused_tenant_waits_and_nobody_else_does(made: World) -> None:
    work(made)
    paused, free = a_set("paused"), a_set("free")
    assert "paused is paused" in await run(made, "tenant", "pause", "paused", "--reason", "audit")
    await made.upload([paused, free])
    await sound(made, free)

    assert await ask(made, "SELECT count(*) FROM chunk WHERE tenant = 'paused'") == 0
    [shown] = json.loads(await run(made, "status", "--tenant", "paused", "--json"))["sets"]
    assert "waits until the tenant is resumed: it is paused (audit)" in shown["reason"]
    assert "paused since" in await run(made, "tenant", "list")

    assert await run(made, "tenant", "resume", "paused") == "paused goes on\n"
    await sound(made, paused)
    assert await run(made, "tenant", "resume", "paused") == "paused was not paused\n"


async def test_a_tenant_is_paused_in_the_middle_of_a_file(made: World) -> None:
    work(made)
    one = a_set("middle", file_bytes=1_500_000)
    await made.upload([one])

    async def begun() -> bool:
        return (await made.stored_record_count([one]) or 0) > 1000

    async def given_back() -> bool:
        leased = "SELECT count(*) FROM delivery WHERE tenant = 'middle' AND lease_until > clock_timestamp()"
        return await ask(made, leased) == 0

    await eventually(begun, what="a part of the file", within_s=WAIT_S)
    # Without a process of its own: a command takes a second to begin, and the file might be through by then.
    database = Database(made.environment["DATAHARVEST_DATABASE_URL"], pool_size=1, application_name="pause")
    await PostgresTenants(database).pause("middle", reason="")
    await database.close()
    await eventually(given_back, what="the lease given back", within_s=WAIT_S)
    assert await ask(made, "SELECT state FROM delivery WHERE tenant = 'middle' AND entity = 'transactions'") == "splitting"
    await run(made, "tenant", "resume", "middle")
    await sound(made, one)


async def test_a_sweep_every_second_while_a_large_file_is_loaded_sends_no_chunk_again(made: World, tmp_path: Path) -> None:
    await end_workers(made)
    path = tmp_path / "transactions_20261123.csv"
    oracle = write_transactions(path, rows=30_000_000 // 48)
    made.crew.start(**EVERY_SECOND, DATAHARVEST_CHUNK_BYTES="65536")
    found = await load_under_sweeps(made.environment, path, oracle, tenant="swept-large")

    assert not found.is_void, found
    assert (found.chunk_count > 400, found.sent_again) == (True, 0), found


async def test_uploads_without_an_event_and_chunks_without_a_message_are_found(made: World) -> None:
    await end_workers(made)
    # Fewer chunks than may be under way: nobody stores any while only the splitter runs.
    one = a_set("lost", file_bytes=20_000)
    await made.upload([one])
    await delete_messages(made, "uploads")
    assert (await found_by_sweep(made))["objects without a delivery"] >= 4

    splitter = Worker(environment=made.environment, log=made.stack.home.logs / "split.log", words=("split",))

    async def sealed() -> bool:
        return await ask(made, "SELECT count(*) FROM delivery WHERE tenant = 'lost' AND announced_at IS NOT NULL") == 4

    try:
        await eventually(sealed, what="all sealed", within_s=WAIT_S)
    finally:
        splitter.ask_to_end()
        assert await splitter.ended(within_s=20) == 0
    await delete_messages(made, "chunks")
    assert "missing chunks" not in await found_by_sweep(made)
    await ask(made, "UPDATE delivery SET sealed_at = sealed_at - interval '1 hour' WHERE tenant = 'lost'")
    chunk_count = await ask(made, "SELECT sum(chunk_count) FROM delivery WHERE tenant = 'lost'")
    assert (await found_by_sweep(made))["missing chunks"] == chunk_count

    made.crew.start()
    await sound(made, one)
    assert await found_by_sweep(made) == {}


async def test_work_without_a_message_is_found(made: World) -> None:
    await end_workers(made)
    one = a_set("unworked")
    await made.upload([one])
    made.crew.start()

    await sound(made, one)
    await ask(made, "UPDATE batch SET sent_at = sent_at - interval '1 hour', done_at = done_at - interval '1 hour'")
    versions = "SELECT set_version_id FROM set_version WHERE tenant = 'unworked'"
    await ask(made, f"UPDATE batch SET done_at = NULL WHERE rule LIKE 'outbound.%' AND set_version_id IN ({versions})")
    assert await found_by_sweep(made) == {"unsent outbound messages": 2}

    async def all_sent() -> bool:
        return await ask(made, "SELECT count(*) FROM outbound WHERE tenant = 'unworked' AND sent_at IS NULL") == 0

    await eventually(all_sent, what="everything sent again", within_s=WAIT_S)
    await sound(made, one)


async def test_without_table_and_changelog_every_set_goes_on_from_where_it_stood(made: World) -> None:
    work(made)
    sets = [a_set(f"rebuilt-{number}", file_bytes=500_000) for number in range(3)]
    await made.upload(sets)

    async def begun() -> bool:
        return all([(await made.stored_record_count([one]) or 0) > 1000 for one in sets])

    await eventually(begun, what="a part of every set", within_s=WAIT_S)
    for worker in made.crew.alive:
        worker.kill()
    made.crew.forget_tables()
    admin = AIOKafkaAdminClient(bootstrap_servers=made.environment["DATAHARVEST_BROKER"])
    await admin.start()
    try:
        await admin.delete_topics([CHANGELOG])
    finally:
        await admin.close()
    await run(made, "topics", "apply")

    made.crew.start()
    await sound(made, *sets)
