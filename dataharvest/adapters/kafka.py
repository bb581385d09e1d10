"""Kafka as a sender: idempotent, acknowledged by all replicas, and awaited."""

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from dataharvest import tracing
from dataharvest.adapters.kafka_batches import partitioned, send_batches
from dataharvest.adapters.postgres.connection import Database
from dataharvest.errors import Rejected, Unavailable
from dataharvest.ports import Position, RawMessage, Sender
from dataharvest.rules.partitioning import turn_of_chunk
from dataharvest.rules.subjects import subject_of
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

# A dead letter holds its message in base64: a third longer than the longest chunk.
_MAX_REQUEST_BYTES = 8 << 20
_MAX_BATCH_BYTES = 256 << 10
_HASHED = DefaultPartitioner()


class KafkaSender:
    """The port ``Sender`` on Kafka."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._users: Counter[AIOKafkaProducer] = Counter()
        """How many sends each producer has in hand."""

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """See the port."""
        async with self._producing() as producer:
            sent = await producer.send_and_wait(topic, value, key=key, headers=list(tracing.headers()))
        return Position(topic, sent.partition, sent.offset)

    async def resend(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        partition: int,
    ) -> Position:
        """See the port ``Resender``."""
        if key is None and value is None:
            raise Rejected("a message with neither key nor value can't be sent", rule="empty_message")
        place = partition if key is None else None
        async with self._producing() as producer:
            sent = await producer.send_and_wait(topic, value, key=key, partition=place, headers=list(headers))
        return Position(topic, sent.partition, sent.offset)

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """See the port."""
        async with self._producing() as producer:
            by_partition = await partitioned(producer, topic, messages)
            sending = (send_batches(producer, topic, number, part) for number, part in by_partition.items())
            # All of them, also when one fails: whatever still uses the producer must not lose it.
            for failure in await asyncio.gather(*sending, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def close(self) -> None:
        """Flush and end the connection; the last send that is under way ends its own."""
        producer, self._producer = self._producer, None
        if producer is not None and not self._users[producer]:
            await _close(producer)
        await asyncio.gather(*self._closing)

    @asynccontextmanager
    async def _producing(self) -> AsyncIterator[AIOKafkaProducer]:
        try:
            producer = await self._open()
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error
        self._users[producer] += 1
        try:
            yield producer
        except MessageSizeTooLargeError as error:
            self._give_up(producer)
            raise Rejected(f"message is larger than Kafka takes: {error}", rule="message_too_large") from error
        except (KafkaError, OSError, TimeoutError) as error:
            self._give_up(producer)
            raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error
        finally:
            self._leave(producer)

    def _give_up(self, producer: AIOKafkaProducer) -> None:
        # After an error, or a refusal, an idempotent producer may have a gap in its sequence and never recover: the next send
        # opens another.
        if self._producer is producer:
            self._producer = None

    def _leave(self, producer: AIOKafkaProducer) -> None:
        self._users[producer] -= 1
        if self._users[producer]:
            return
        del self._users[producer]
        # Only now: a send that waits for metadata would never hear that its producer was closed, and wait for ever.
        if self._producer is not producer:
            closing = asyncio.create_task(_close(producer))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._broker,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=_MAX_REQUEST_BYTES,
                    max_batch_size=_MAX_BATCH_BYTES,
                    partitioner=_partition_of,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


def _partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """A partition by the key alone, where there is one."""
    turn = None if key is None else turn_of_chunk(key)
    return int(_HASHED(key, partitions, available)) if turn is None else partitions[turn % len(partitions)]


class KafkaDeadLetters:
    """The port ``DeadLetters``: the topic keeps the bytes, a row in PostgreSQL makes them visible in ``status``."""

    def __init__(self, sender: Sender, database: Database) -> None:
        self._sender = sender
        self._database = database

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """See the port."""
        value = orjson.dumps(
            {
                "type": "dead_letter",
                **position._asdict(),
                "stage": stage,
                "rule": reason.rule,
                "reason": reason.message,
                "details": {name: str(detail) for name, detail in reason.details.items()},
                "key": _base64(message.key),
                "headers": [[name, _base64(header)] for name, header in _header_pairs(message)],
                "value": _base64(message.value),
                "failed_at": datetime.now(UTC),
            }
        )
        letter = await self._sender.send("dead-letters", key=":".join(map(str, position)).encode(), value=value)
        async with self._database.connection() as connection:
            await connection.execute(
                queries("operations")["add_dead_letter"],
                *position,
                stage,
                reason.rule,
                reason.message,
                *subject_of(position.topic, message.value),
            )
            await connection.execute(queries("dead_letters")["note_letter"], *position, letter.partition, letter.offset)


def _header_pairs(message: RawMessage) -> list[tuple[str, bytes]]:
    headers = message.headers or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


async def _close(producer: AIOKafkaProducer) -> None:
    # What it still holds was reported as failed and is sent again; an absent broker must not keep the process.
    try:
        await asyncio.wait_for(producer.stop(), timeout=5)
    except (KafkaError, OSError, TimeoutError) as error:
        logger.info("producer given up", extra={"reason": f"{type(error).__name__}: {error}"})
