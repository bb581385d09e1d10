"""What a sender promises, in memory and on the real Kafka; and that a dead letter keeps the original bytes."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from dataharvest.adapters.kafka import KafkaDeadLetters, KafkaSender
from dataharvest.adapters.kafka_admin import apply
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.errors import Rejected, Unavailable
from dataharvest.ports import Position, Sender
from dataharvest.topics import difference, load_topics
from tests.contract.ledgers import Ledger

Received = list[tuple[bytes | None, bytes | None]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A sender, a topic of its own, and what has arrived there."""

    sender: Sender
    topic: str
    received: Callable[[], Awaitable[Received]]


@pytest.fixture(params=["memory", "kafka"])
def broker_of_place(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("stack_environment")["DATAHARVEST_BROKER"])


@pytest.fixture
async def place(broker_of_place: str | None) -> AsyncIterator[Place]:
    if broker_of_place is None:
        memory = MemorySender()

        async def sent() -> Received:
            return [(one.key, one.value) for one in memory.sent]

        yield Place(sender=memory, topic="any", received=sent)
        return
    topic = await new_topic(broker_of_place)
    sender = KafkaSender(broker_of_place)

    async def arrived() -> Received:
        return [(one.key, one.value) for one in await records_of(broker_of_place, topic)]

    yield Place(sender=sender, topic=topic, received=arrived)
    await sender.close()


async def new_topic(broker: str, *, partitions: int = 1, name: str | None = None) -> str:
    """A topic like ``work``, under a name nobody else uses."""
    name = name or f"contract-{uuid4().hex}"
    topic = load_topics()["work"].model_copy(update={"name": name, "partitions": partitions})
    await apply(broker, difference([topic], {}))
    return topic.name


async def records_of(broker: str, topic: str, *, partition: int = 0) -> list[Any]:
    """Everything in a partition, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    await consumer.seek_to_beginning(place)
    end = (await consumer.end_offsets([place]))[place]
    found: list[Any] = []
    while await consumer.position(place) < end:
        found += (await consumer.getmany(place, timeout_ms=1000)).get(place, [])
    await consumer.stop()
    return found


async def test_a_message_is_there_when_send_returns(place: Place) -> None:
    await place.sender.send(place.topic, key=b"k", value=b"\x00\xff")
    assert await place.received() == [(b"k", b"\x00\xff")]


async def test_many_messages_keep_their_order(place: Place) -> None:
    messages = [(b"k", str(number).encode()) for number in range(500)]
    await place.sender.send_many(place.topic, messages)
    assert await place.received() == messages


async def test_sending_nothing_sends_nothing(place: Place) -> None:
    await place.sender.send_many(place.topic, [])
    assert await place.received() == []


@pytest.fixture
def broker(stack_environment: dict[str, str]) -> str:
    return stack_environment["DATAHARVEST_BROKER"]


async def test_many_messages_lie_where_single_ones_of_the_same_keys_do(broker: str) -> None:
    sender, one_by_one, together = (
        KafkaSender(broker),
        await new_topic(broker, partitions=5),
        await new_topic(broker, partitions=5),
    )
    # More than fits into one batch of a partition.
    messages = [(f"tenant|{number % 40}".encode(), f"{number}:".encode() * 2000) for number in range(400)]
    for key, value in messages:
        await sender.send(one_by_one, key=key, value=value)
    await sender.send_many(together, messages)
    await sender.close()
    for partition in range(5):
        single, many = [await records_of(broker, topic, partition=partition) for topic in (one_by_one, together)]
        assert single
        assert [(one.key, one.value) for one in many] == [(one.key, one.value) for one in single]


async def test_one_of_many_messages_that_is_too_large_is_rejected(broker: str) -> None:
    sender, topic = KafkaSender(broker), await new_topic(broker)
    with pytest.raises(Rejected) as refused:
        await sender.send_many(topic, [(b"k", b"small"), (b"k", bytes(5 << 20))])
    assert refused.value.rule == "message_too_large"
    await sender.send(topic, key=b"k", value=b"small")
    await sender.close()


async def test_a_message_that_is_too_large_is_rejected_and_the_sender_goes_on(broker: str) -> None:
    sender = KafkaSender(broker)
    topic = await new_topic(broker)
    with pytest.raises(Rejected) as refused:
        await sender.send(topic, key=b"k", value=bytes(5 << 20))
    assert refused.value.rule == "message_too_large"
    await sender.send(topic, key=b"k", value=b"small")
    await sender.close()


async def test_a_send_that_waits_for_its_topic_outlasts_another_that_fails_meanwhile(broker: str) -> None:
    sender, there, name = KafkaSender(broker), await new_topic(broker), f"test-{uuid4().hex}"
    waiting = asyncio.create_task(sender.send(name, key=b"k", value=b"late"))
    with pytest.raises(Rejected):
        await sender.send(there, key=b"k", value=bytes(5 << 20))
    await sender.send(there, key=b"k", value=b"through another producer")

    await new_topic(broker, name=name)
    async with asyncio.timeout(30):
        position = await waiting

    assert position == Position(name, 0, 0)
    await sender.close()


async def test_a_broker_that_is_not_there_is_an_outage() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(Unavailable) as outage:
        await KafkaSender(nobody).send("any", key=b"k", value=b"v")
    assert outage.value.__cause__ is not None


async def test_a_sender_can_be_used_again_after_it_was_closed(broker: str) -> None:
    sender = KafkaSender(broker)
    topic = await new_topic(broker)
    for value in (b"1", b"2"):
        await sender.send(topic, key=b"k", value=value)
        await sender.close()
    assert [one.value for one in await records_of(broker, topic)] == [b"1", b"2"]


@dataclass
class Poison:
    """A message as Faust hands it over."""

    key: Any
    value: Any
    headers: Any


@pytest.mark.parametrize(
    ("message", "headers"),
    [
        (Poison(b"k", b"\x00not json", {"from": b"\xff"}), [["from", b"\xff"]]),
        (Poison(None, None, None), []),
        (Poison(b"", b"", [("a", b"1"), ("a", None)]), [["a", b"1"], ["a", None]]),
    ],
)
async def test_a_dead_letter_keeps_the_original_bytes_and_the_reason(
    broker: str, real_ledger: Ledger, message: Poison, headers: list[list[Any]]
) -> None:
    assert real_ledger.database is not None
    sender = KafkaSender(broker)
    position = Position(f"work-{uuid4().hex}", 3, 42)
    reason = Rejected("can't be read", rule="unreadable_message", line=3, found=[1])
    letters = KafkaDeadLetters(sender, real_ledger.database)
    for _ in range(2):
        await letters.keep(position, message=message, stage="work", reason=reason)
    await sender.close()
    first, second = await letters_of(broker, position)
    assert {**first, "failed_at": ""} == {**second, "failed_at": ""}
    assert (first["stage"], first["rule"], first["reason"]) == ("work", "unreadable_message", "can't be read")
    assert first["details"] == {"line": "3", "found": "[1]"}
    assert (decoded(first["key"]), decoded(first["value"])) == (message.key, message.value)
    assert [[name, decoded(value)] for name, value in first["headers"]] == headers
    async with real_ledger.database.connection() as connection:
        assert [tuple(row) for row in await connection.fetch("SELECT topic, stage, rule FROM dead_letter")] == [
            (position.topic, "work", "unreadable_message")
        ]


async def letters_of(broker: str, position: Position) -> list[dict[str, Any]]:
    key = ":".join(map(str, position)).encode()
    partitions = range(load_topics()["dead-letters"].partitions)
    found = [one for number in partitions for one in await records_of(broker, "dead-letters", partition=number)]
    return [json.loads(one.value) for one in found if one.key == key]


def decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


async def test_chunks_are_dealt_out_and_go_where_they_were_when_they_are_sent_again(stack_environment: dict[str, str]) -> None:
    broker = stack_environment["DATAHARVEST_BROKER"]
    topic = await new_topic(broker, partitions=4)
    sender = KafkaSender(broker)
    try:
        sent = [await sender.send(topic, key=b"6:%d" % index, value=b"chunk") for index in range(8)]
        again = await sender.resend(topic, key=b"6:3", value=b"chunk", headers=[], partition=0)
    finally:
        await sender.close()

    assert [one.partition for one in sent] == [2, 3, 0, 1] * 2
    assert again.partition == sent[3].partition
