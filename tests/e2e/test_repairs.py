"""Each of the three repairs and the tripwire on a real broker: the fault without, the right thing with."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from dataharvest.faust_repairs import EXIT_BUG, CompleteSeek, complete_seek_to_committed, halted
from dataharvest.stack import Stack
from tests.kills.small_app import GROUP, PARTITIONS, TOPIC
from tests.kills.small_apps import WAIT_S, SmallApps, ended, produce, produce_with_gaps, topics
from tests.kills.world import eventually

CHANGELOG = f"{GROUP}-seen-changelog"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stack = Stack(tmp_path_factory.mktemp("repairs") / "home")
    stack.up()
    yield stack.environment()["DATAHARVEST_BROKER"]
    stack.erase()


@pytest.fixture(autouse=True)
def original_seek(monkeypatch: pytest.MonkeyPatch) -> None:
    # An application built by another test in this process has repaired the class already.
    monkeypatch.setattr(AIOKafkaConsumer, "seek_to_committed", CompleteSeek.original)


@asynccontextmanager
async def consumer_at_three(broker: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of a group that has read three of five messages and committed nothing."""
    await produce(broker, topic, [b"%d" % number for number in range(5)])
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, group_id=f"of {topic}", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        for _ in range(3):
            await consumer.getone()
        yield consumer
    finally:
        await consumer.stop()


@pytest.fixture
async def apps(broker: str, tmp_path: Path) -> AsyncIterator[SmallApps]:
    started = SmallApps(broker, tmp_path)
    # Kafka forgets the group's commits together with the topic.
    async with topics(broker, {TOPIC: PARTITIONS, CHANGELOG: PARTITIONS}):
        try:
            yield started
        finally:
            started.end_all()


async def test_a_partition_never_committed_keeps_its_position_without_the_repair(broker: str) -> None:
    async with topics(broker, {"unrepaired": 1}), consumer_at_three(broker, "unrepaired") as consumer:
        await consumer.seek_to_committed()

        assert await consumer.position(TopicPartition("unrepaired", 0)) == 3


async def test_a_partition_never_committed_begins_again_at_its_start(broker: str) -> None:
    complete_seek_to_committed()

    async with topics(broker, {"repaired": 1}), consumer_at_three(broker, "repaired") as consumer:
        await consumer.seek_to_committed()

        assert await consumer.position(TopicPartition("repaired", 0)) == 0
        assert (await consumer.getone()).offset == 0


async def test_a_committed_partition_goes_on_at_its_commit(broker: str) -> None:
    complete_seek_to_committed()
    place = TopicPartition("committed", 0)

    async with topics(broker, {"committed": 1}), consumer_at_three(broker, "committed") as consumer:
        await consumer.commit({place: 2})
        await consumer.seek_to_committed()

        assert await consumer.position(place) == 2


async def test_a_partition_that_lost_its_start_begins_at_the_first_message_kept(broker: str) -> None:
    complete_seek_to_committed()
    place = TopicPartition("shortened", 0)

    async with topics(broker, {"shortened": 1}) as admin, consumer_at_three(broker, "shortened") as consumer:
        await admin.delete_records({place: RecordsToDelete(2)})
        await consumer.seek_to_committed()

        assert (await consumer.getone()).offset == 2


async def test_a_changelog_keeps_the_position_that_the_recovery_gave_it(broker: str) -> None:
    complete_seek_to_committed()

    async with topics(broker, {"a-changelog": 1}), consumer_at_three(broker, "a-changelog") as consumer:
        await consumer.seek_to_committed()

        assert await consumer.position(TopicPartition("a-changelog", 0)) == 3


async def test_messages_flow_before_a_recovery_has_ended_without_the_repair(apps: SmallApps) -> None:
    apps.start(UNREPAIRED="1")

    assert (await apps.until("resumed", 1))[0]["flowing"]


async def test_nothing_flows_before_a_recovery_has_ended(broker: str, apps: SmallApps) -> None:
    apps.start()

    assert not (await apps.until("resumed", 1))[0]["flowing"]
    await produce(broker, TOPIC, [b"%d" % number for number in range(10)])
    await apps.until("handled", 10)


async def test_a_gap_ends_the_worker_before_the_event_behind_it_is_handled(broker: str, apps: SmallApps) -> None:
    await produce_with_gaps(broker, TOPIC, [b"before", b"behind"])

    worker = apps.start()
    await eventually(lambda: ended(worker), what="end of the worker", within_s=WAIT_S)

    assert worker.returncode == EXIT_BUG
    assert [one["offset"] for one in apps.lines("handled")] == [0]


async def test_a_start_behind_the_commit_ends_the_worker_before_anything_is_handled(broker: str, apps: SmallApps) -> None:
    await produce(broker, TOPIC, [b"%d" % number for number in range(6)])

    worker = apps.start(ASTRAY="1")
    await eventually(lambda: ended(worker), what="end of the worker", within_s=WAIT_S)

    assert worker.returncode == EXIT_BUG
    assert not apps.lines("handled")


async def test_a_start_behind_nothing_but_marks_of_transactions_is_passed(broker: str, apps: SmallApps) -> None:
    await produce_with_gaps(broker, TOPIC, [b"first"])
    first = apps.start()
    await apps.until("handled", 1)
    first.terminate()
    await eventually(lambda: ended(first), what="end of the worker", within_s=WAIT_S)
    await produce_with_gaps(broker, TOPIC, [b"second"])

    apps.start()

    assert (await apps.until("handled", 2))[1]["offset"] == 2


async def test_an_event_given_up_for_a_rebalance_comes_again(broker: str, apps: SmallApps) -> None:
    apps.outage.touch()
    await produce(broker, TOPIC, [b"%d" % number for number in range(10)])
    first = apps.start()
    await apps.until("unavailable", PARTITIONS, pid=first.pid)

    second = apps.start()
    await apps.until("unavailable", 1, pid=second.pid)
    apps.outage.unlink()
    handled = await apps.until("handled", 10)

    assert sorted(one["value"] for one in handled) == [str(number) for number in range(10)]
    assert {one["pid"] for one in handled} == {first.pid, second.pid}


async def test_a_worker_that_waits_for_a_service_ends_at_once_when_asked(broker: str, apps: SmallApps) -> None:
    apps.outage.touch()
    await produce(broker, TOPIC, [b"0", b"1"])
    worker = apps.start()
    await apps.until("unavailable", 2)

    asked_at = time.monotonic()
    worker.terminate()
    await eventually(lambda: ended(worker), what="end of the worker", within_s=WAIT_S)

    assert worker.returncode == 0
    assert time.monotonic() - asked_at < 10


async def test_an_attempt_that_was_given_up_does_not_count_as_a_crash(broker: str, apps: SmallApps) -> None:
    apps.outage.touch()
    await produce(broker, TOPIC, [b"0", b"1"])
    worker = apps.start()
    await apps.until("unavailable", 2)

    worker.terminate()
    await eventually(lambda: ended(worker), what="end of the worker", within_s=WAIT_S)

    assert apps.places("noted") == apps.places("forgotten") == {(0, 0), (1, 0)}


async def test_a_bug_ends_the_worker_even_when_it_cannot_be_recorded_and_its_event_comes_again(
    broker: str, apps: SmallApps
) -> None:
    await produce(broker, TOPIC, [b"0"])
    worker = apps.start(BUG="1")
    await eventually(lambda: ended(worker), what="end of the worker", within_s=WAIT_S)

    apps.start()
    await apps.until("handled", 1)

    assert worker.returncode == EXIT_BUG


@pytest.mark.parametrize(("stopping", "flowing"), [(True, True), (False, False), (True, False)])
def test_nothing_new_is_handled_while_stopping_or_without_flow(stopping: bool, flowing: bool) -> None:
    assert halted(_app(stopping=stopping, flowing=flowing))


def test_events_are_handled_while_they_flow() -> None:
    assert not halted(_app(stopping=False, flowing=True))


def _app(*, stopping: bool, flowing: bool) -> Any:
    class Flow:
        def is_active(self) -> bool:
            return flowing

    class App:
        should_stop = stopping
        flow_control = Flow()

    return App()
