"""Workers that come, go and die: the short cut of ``python -m tests.kills``, and how a worker ends and begins again."""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from dataharvest.failpoints import VARIABLE
from dataharvest.faust_repairs import EXIT_BUG
from tests.faults.load import LoadedSet, apply_contract, copies_of
from tests.kills.rounds import Round, Script, play, under_load
from tests.kills.sets import make_set
from tests.kills.witness import GROUP
from tests.kills.workers import Worker
from tests.kills.world import World, eventually, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
SEED = 3
CHUNK_PARTITIONS = 16
WAIT_S = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[World]:
    async with world() as one:
        yield one


async def shares(made: World) -> Counter[str]:
    """Partitions of ``chunks`` per member of the group; empty while it rebalances."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.environment["DATAHARVEST_BROKER"])
    try:
        await admin.start()
        _, _, state, _, _, members = (await admin.describe_consumer_groups([GROUP]))[0].groups[0][:6]
    except KafkaError:
        return Counter()
    finally:
        await admin.close()
    found: Counter[str] = Counter()
    for member in members if state == "Stable" else ():
        assignment = ConsumerProtocolMemberAssignment.decode(member[4])
        found[member[0]] = sum(len(partitions) for topic, partitions in assignment.assignment if topic == "chunks")
    return found


async def shared_by(made: World, count: int) -> None:
    async def fairly() -> bool:
        return sorted((await shares(made)).values()) == [CHUNK_PARTITIONS // count] * count

    await eventually(fairly, what=f"partitions shared by {count}", within_s=WAIT_S)


async def play_one(made: World, name: str, script: Script, *, sets: int, file_bytes: int = 120_000) -> Round:
    files = [make_set(f"{name}-{number}", seed=f"{SEED} {name} {number}", file_bytes=file_bytes) for number in range(sets)]
    one = Round(name, made, files, random.Random(f"{SEED} {name}"))
    print(await play(one, script))
    assert made.witness.violations.all() + made.crew.unexpected_ends() == []
    return one


async def test_one_two_and_four_replicas_share_the_partitions_and_end_in_ten_seconds(made: World) -> None:
    for count in (1, 2, 4):
        while len(made.crew.alive) < count:
            made.crew.start()
        await shared_by(made, count)

    asked_at = time.monotonic()
    for worker in made.crew.alive:
        worker.ask_to_end()
    codes = [await worker.ended(within_s=WAIT_S) for worker in made.crew.members]

    assert codes == [0, 0, 0, 0]
    assert time.monotonic() - asked_at < 10


async def test_killed_workers_lose_and_double_nothing(made: World) -> None:
    # So much that it is not all stored before the workers have settled, on however fast a machine.
    one = await play_one(made, "kills", under_load(workers=2, kills=2), sets=4, file_bytes=500_000)

    assert one.hits >= 0.9 * one.planned


async def test_workers_killed_while_copies_are_removed_in_steps_lose_and_double_nothing(made: World) -> None:
    """One ends with a removal not committed, one with it committed and nothing sent, and one in the next step; one is left."""
    chance = random.Random(f"{SEED} copies")
    plain = make_set("copies-00", seed=f"{SEED} copies", file_bytes=36 * 1_000)
    one = LoadedSet(plain.tenant, plain.rows, copies=copies_of(plain.rows["transactions"], chance, count=1_500))
    places = [("judge.removed", 2), ("judge.step_taken", 1), ("judge.removed", 1), ("judge.step_taken", 2)]
    await apply_contract(one, run=made.run)
    ends: list[int | None] = []

    async def script(_: Round) -> None:
        for place, turn in places:
            victim = made.crew.start(DATAHARVEST_JUDGEMENT_SLICE_ROWS="10000", **{VARIABLE: f"{place}=kill@{turn}"})
            ends.append(await victim.ended(within_s=WAIT_S))

    round_ = Round("copies", made, [one], chance)
    print(await play(round_, script))
    assert ends == [-signal.SIGKILL] * len(places)
    assert made.witness.violations.all() + made.crew.unexpected_ends() == []


async def test_a_worker_that_is_asked_to_end_under_load_loses_nothing(made: World) -> None:
    codes: list[int | None] = []
    for _ in range(2):
        made.crew.start()
    await shared_by(made, 2)

    async def script(one: Round) -> None:
        for share in (0.2, 0.5):
            await one.until_stored(share)
            leaver = made.crew.alive[0]
            made.crew.start()
            leaver.ask_to_end()
            codes.append(await leaver.ended(within_s=WAIT_S))

    await play_one(made, "leaving", script, sets=4)

    assert codes == [0, 0]


def is_worker(process: psutil.Process) -> bool:
    # An import may run a short command of its own; that is a child too, for a moment.
    try:
        return "worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


async def child_of(supervisor: Worker, *, other_than: int = 0) -> int:
    found: list[int] = []

    async def appeared() -> bool:
        children = psutil.Process(supervisor.pid).children()
        found[:] = [one.pid for one in children if one.pid != other_than and is_worker(one)]
        return bool(found)

    await eventually(appeared, what="a child", within_s=WAIT_S)
    return found[0]


async def successor_of(made: World, member: set[str]) -> set[str]:
    """Wait until another member, alone, has every partition."""

    async def succeeded() -> bool:
        found = await shares(made)
        return list(found.values()) == [CHUNK_PARTITIONS] and not member & set(found)

    await eventually(succeeded, what="a successor at work", within_s=WAIT_S)
    return set(await shares(made))


async def send_with_a_gap(made: World) -> None:
    """Two harmless events in two transactions: the mark at the end of the first takes an offset of its own."""
    producer = AIOKafkaProducer(bootstrap_servers=made.environment["DATAHARVEST_BROKER"], transactional_id="gap")
    await producer.start()
    event = json.dumps({"Event": "s3:TestEvent"}).encode()
    async with producer.transaction():
        first = await producer.send_and_wait("uploads", event, partition=0)

    async def committed() -> bool:
        return (await made.witness.commits()).get(TopicPartition("uploads", 0), 0) > int(first.offset)

    # Or the restarted worker would meet the gap once more.
    await eventually(committed, what="the first event committed", within_s=WAIT_S)
    async with producer.transaction():
        await producer.send_and_wait("uploads", event, partition=0)
    await producer.stop()


async def test_a_supervised_worker_is_started_again_and_ends_with_its_supervisor(made: World) -> None:
    log = made.stack.home.logs / "supervised.log"
    supervisor = Worker(environment=made.environment, log=log, words=("supervise", "worker"))
    first = await child_of(supervisor)
    await shared_by(made, 1)
    first_member = set(await shares(made))

    psutil.Process(first).kill()
    second = await child_of(supervisor, other_than=first)
    second_member = await successor_of(made, first_member)
    await send_with_a_gap(made)
    third = await child_of(supervisor, other_than=second)
    await successor_of(made, second_member)
    supervisor.ask_to_end()

    assert await supervisor.ended(within_s=WAIT_S) == 0
    assert not psutil.pid_exists(third)
    assert f"ended with {EXIT_BUG}" in log.read_text()
