"""The messages that went out during a harvest, read from Kafka and written as JSON lines in a stable order."""

import heapq
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from dataharvest.errors import Unavailable

_LINES_IN_MEMORY = 50_000
_FETCH_MS = 1000
_SEPARATOR = b"\0"

Offsets = dict[TopicPartition, int]


async def end_offsets(broker: str, partition_counts: Mapping[str, int]) -> Offsets:
    """Where each partition of the topics ends now.

    Raises:
        Unavailable: the broker does not answer.
    """
    partitions = [TopicPartition(topic, number) for topic, count in partition_counts.items() for number in range(count)]
    async with _consumer(broker) as consumer:
        found: Offsets = await consumer.end_offsets(partitions)
    return found


async def read_outbound(broker: str, since: Offsets, *, tenant: str, dates: Collection[date]) -> "SortedLines":
    """The messages of these sets that were sent after ``since`` and are in Kafka now.

    Raises:
        Unavailable: the broker does not answer.
    """
    wanted = {day.isoformat() for day in dates}
    lines = SortedLines()
    async with _consumer(broker) as consumer:
        ends = await consumer.end_offsets(list(since))
        grown = {one: end for one, end in ends.items() if end > since[one]}
        if not grown:
            # Stopped before its first turn, the client's inner task would end us with it.
            return lines
        consumer.assign(list(grown))
        for one in grown:
            consumer.seek(one, since[one])
        async for message in _until(consumer, grown):
            value = _content(message.value)
            if value.get("tenant") == tenant and value.get("business_date") in wanted:
                lines.add(message.topic, (message.key or b"").decode(errors="replace"), message.value, value)
    return lines


async def _until(consumer: AIOKafkaConsumer, ends: Offsets) -> AsyncIterator[Any]:
    waiting = set(ends)
    while waiting:
        for one, messages in (await consumer.getmany(*waiting, timeout_ms=_FETCH_MS)).items():
            for message in messages:
                if message.offset < ends[one]:
                    yield message
        # The position also passes offsets that hold no message any more.
        waiting = {one for one in waiting if await consumer.position(one) < ends[one]}


@asynccontextmanager
async def _consumer(broker: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {broker} does not answer: {error or type(error).__name__}") from error
    finally:
        await consumer.stop()


def _content(value: bytes | None) -> dict[str, Any]:
    try:
        found = orjson.loads(value or b"null")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


class SortedLines:
    """JSON lines ``{"topic","key","value"}`` in order of topic, key and version, one per message id.

    Bounded memory: what is more than some thousand lines waits in temporary files, until the block ends. ``value`` is byte for
    byte what was sent.
    """

    def __init__(self, *, lines_in_memory: int = _LINES_IN_MEMORY) -> None:
        self._lines_in_memory = lines_in_memory
        self._buffer: list[bytes] = []
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> "SortedLines":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    def add(self, topic: str, key: str, raw: bytes, value: dict[str, Any]) -> None:
        """Take in one message; ``value`` is what ``raw`` says."""
        line = orjson.dumps({"topic": topic, "key": key, "value": orjson.Fragment(raw)})
        order = (topic, key, f"{value.get('version', 0):010}", str(value.get("message_id")))
        self._buffer.append(_SEPARATOR.join([*(part.encode() for part in order), line]) + b"\n")
        if len(self._buffer) >= self._lines_in_memory:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        """The lines, each with its line feed."""
        for run in self._runs:
            run.seek(0)
        previous = b""
        for entry in heapq.merge(sorted(self._buffer), *self._runs):
            identity, _, line = entry.rpartition(_SEPARATOR)
            if identity != previous:
                yield line
            previous = identity

    def _spill(self) -> None:
        run = tempfile.TemporaryFile()  # noqa: SIM115 - closed with us
        run.writelines(sorted(self._buffer))
        self._runs.append(run)
        self._buffer = []


def write_lines(lines: Iterable[bytes], out: Path | None) -> int:
    """Write the lines to a file, whole or not at all, or to stdout; returns how many there are."""
    count = 0
    with _opened(out) as file:
        for count, line in enumerate(lines, 1):  # noqa: B007 - the count outlives the loop
            file.write(line)
    return count


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = out.resolve()
    if target.exists() and not target.is_file():
        # A device or a pipe is written to, not replaced.
        with target.open("wb") as file:
            yield file
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        fresh = Path(folder, target.name)
        with fresh.open("xb") as file:
            yield file
        fresh.replace(target)
