"""Kafka as a log that is read again: a consumer of its own, without a group, so that nobody's position moves."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, zip_longest

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from dataharvest.adapters.kafka_admin import partition_numbers
from dataharvest.errors import Unavailable
from dataharvest.ports import Position
from dataharvest.replaying.log import LoggedMessage, Span

_POLL_MS = 500
_SILENT_POLLS = 60
"""Polls without a message and without progress after which the broker counts as gone."""
_AT_ONCE = 256


class KafkaLog:
    """The port ``TopicLog`` on Kafka."""

    def __init__(self, broker: str) -> None:
        self._broker = broker

    async def bounds(self, topic: str) -> dict[int, Span]:
        """See the port."""
        places = [TopicPartition(topic, number) for number in await partition_numbers(self._broker, topic)]
        async with self._consumer() as consumer:
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return {place.partition: Span(begins[place], ends[place]) for place in places}

    async def offsets_at(self, topic: str, moment: datetime, *, partitions: Collection[int]) -> dict[int, int | None]:
        """See the port."""
        wanted = {TopicPartition(topic, number): int(moment.timestamp() * 1000) for number in partitions}
        if not wanted:
            return {}
        async with self._consumer() as consumer:
            found = await consumer.offsets_for_times(wanted)
        return {place.partition: one.offset if one else None for place, one in found.items()}

    async def read(self, topic: str, spans: Mapping[int, Span]) -> AsyncIterator[LoggedMessage]:
        """See the port."""
        stops = {TopicPartition(topic, number): span.stop for number, span in spans.items() if span.start < span.stop}
        if not stops:
            # A consumer without any partition ends with a cancellation.
            return
        async with self._consumer() as consumer:
            consumer.assign(list(stops))
            begins = await consumer.beginning_offsets(list(stops))
            for place in stops:
                consumer.seek(place, max(begins[place], spans[place.partition].start))
            async for records in self._polls(consumer, stops):
                for record in _in_turn(records):
                    if record.offset < stops[TopicPartition(record.topic, record.partition)]:
                        yield _message(record)

    async def _polls(
        self, consumer: AIOKafkaConsumer, stops: dict[TopicPartition, int]
    ) -> AsyncIterator[dict[TopicPartition, list["ConsumerRecord[bytes, bytes]"]]]:
        silent = 0
        while unread := [place for place, stop in stops.items() if await consumer.position(place) < stop]:
            consumer.pause(*(set(stops) - set(unread)))
            found = await consumer.getmany(*unread, timeout_ms=_POLL_MS, max_records=_AT_ONCE)
            silent = 0 if found else silent + 1
            if silent > _SILENT_POLLS:
                raise Unavailable(f"Kafka at {self._broker} has sent nothing for {_SILENT_POLLS * _POLL_MS // 1000} s")
            yield found

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._broker, enable_auto_commit=False, auto_offset_reset="none")
        try:
            await consumer.start()
            yield consumer
        except OffsetOutOfRangeError as error:
            raise Unavailable("the topic has dropped messages while they were being read; begin again") from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._broker} does not answer: {error or type(error).__name__}") from error
        finally:
            await consumer.stop()


def _in_turn(
    records: Mapping[TopicPartition, list["ConsumerRecord[bytes, bytes]"]],
) -> Iterator["ConsumerRecord[bytes, bytes]"]:
    # One of each partition after the other: a partition that got everything at once would make its live messages wait.
    return (one for one in chain.from_iterable(zip_longest(*records.values())) if one is not None)


def _message(record: "ConsumerRecord[bytes, bytes]") -> LoggedMessage:
    return LoggedMessage(
        position=Position(record.topic, record.partition, record.offset),
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )
