"""The topics as an outsider sees them: how far the group is behind, messages sent again, the group set back to the start."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from dataharvest.errors import Unavailable
from dataharvest.harvest.workers import member_count
from dataharvest.pipeline import CONSUMED
from dataharvest.topics import load_topics
from tests.kills.witness import GROUP, Witness
from tests.kills.world import eventually

AGAIN = ("again", b"1")
"""Header of a message that was sent again by us."""
Message = tuple[str, int, bytes | None, bytes | None]
"""Topic, partition, key and value."""


def places(topics: Iterable[str] = CONSUMED) -> list[TopicPartition]:
    """Every partition of the topics."""
    known = load_topics()
    return [TopicPartition(name, number) for name in topics for number in range(known[name].partitions)]


@asynccontextmanager
async def consumer_of(broker: str, **settings: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without subscription."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest", **settings)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def producer_of(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer for messages of any size."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, max_request_size=8 << 20)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def lag(broker: str, witness: Witness) -> dict[TopicPartition, int]:
    """Partitions of the consumed topics that the group has not read to their end, and by how many messages."""
    async with consumer_of(broker) as consumer:
        ends = await consumer.end_offsets(places())
    committed = await witness.commits()
    behind = {place: end - committed.get(place, 0) for place, end in ends.items()}
    return {place: count for place, count in behind.items() if count > 0}


async def set_back(broker: str) -> int:
    """Let the group, whose members have ended, begin again at 0; how many messages come again."""
    # One that ended without a farewell is a member until its session has run out.
    await eventually(partial(_is_deserted, broker), what="a group without members", within_s=30)
    async with consumer_of(broker, group_id=GROUP) as consumer:
        found = places()
        consumer.assign(found)
        ends = await consumer.end_offsets(found)
        await consumer.commit({place: OffsetAndMetadata(0, "") for place in found})
    return sum(ends.values())


async def _is_deserted(broker: str) -> bool:
    with suppress(Unavailable):
        return await member_count(broker, GROUP) == 0
    return False


async def messages_of(broker: str, topic: str) -> list[Message]:
    """Everything that is on the topic now."""
    found: list[Message] = []
    async with consumer_of(broker) as consumer:
        for place in places([topic]):
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            consumer.seek(place, 0)
            while await consumer.position(place) < end:
                for one in (await consumer.getmany(place, timeout_ms=1000)).get(place, []):
                    found.append((one.topic, one.partition, one.key, one.value))
    return found


async def send_again(broker: str, messages: Sequence[Message]) -> None:
    """Send these messages to their partitions once more, in this order."""
    async with producer_of(broker) as producer:
        for topic, partition, key, value in messages:
            await producer.send_and_wait(topic, value, key=key, partition=partition, headers=[AGAIN])


@asynccontextmanager
async def repeating(broker: str, topics: Sequence[str], *, share: float, chance: random.Random) -> AsyncIterator[list[Message]]:
    """Send a share of whatever comes to the topics a second time; the list grows by what was sent."""
    sent: list[Message] = []

    async def repeat() -> None:
        async with consumer_of(broker) as consumer, producer_of(broker) as producer:
            found = places(topics)
            consumer.assign(found)
            await consumer.seek_to_end(*found)
            async for one in consumer:
                if AGAIN not in one.headers and chance.random() < share:
                    await producer.send_and_wait(one.topic, one.value, key=one.key, partition=one.partition, headers=[AGAIN])
                    sent.append((one.topic, one.partition, one.key, one.value))

    task = asyncio.create_task(repeat())
    # Until the consumer stands at the end nothing would be repeated.
    await asyncio.sleep(1)
    try:
        yield sent
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
