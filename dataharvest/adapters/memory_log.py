"""A topic in memory that can be read again, and replays of it; for tests, under the contract of the real ones."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest

from dataharvest.errors import Misconfigured
from dataharvest.ports import Position
from dataharvest.replaying.log import LoggedMessage, Span
from dataharvest.replaying.requests import Part, Replay, Request


@dataclass
class MemoryLog:
    """The port ``TopicLog`` without a broker."""

    topics: dict[str, list[list[tuple[datetime, LoggedMessage]]]] = field(default_factory=dict)
    """By topic and partition: what was ever written, and when."""
    begins: dict[tuple[str, int], int] = field(default_factory=dict)
    """First offset that is kept, where it is not 0."""

    def write(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        at: datetime = datetime(2026, 11, 23, 18, tzinfo=UTC),
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Position:
        """Append a message."""
        written = self.topics[topic][partition]
        position = Position(topic, partition, len(written))
        written.append((at, LoggedMessage(position=position, key=key, value=value, headers=tuple(headers))))
        return position

    async def bounds(self, topic: str) -> dict[int, Span]:
        """See the port."""
        if topic not in self.topics:
            raise Misconfigured(f"there is no topic {topic}")
        return {
            number: Span(self.begins.get((topic, number), 0), len(written)) for number, written in enumerate(self.topics[topic])
        }

    async def offsets_at(self, topic: str, moment: datetime, *, partitions: Collection[int]) -> dict[int, int | None]:
        """See the port."""
        bounds = await self.bounds(topic)
        return {
            number: next(
                (one.position.offset for at, one in self.topics[topic][number][bounds[number].start :] if at >= moment), None
            )
            for number in partitions
        }

    async def read(self, topic: str, spans: Mapping[int, Span]) -> AsyncIterator[LoggedMessage]:
        """See the port."""
        bounds = await self.bounds(topic)
        ranges = [self.topics[topic][number][max(span.start, bounds[number].start) : span.stop] for number, span in spans.items()]
        for row in zip_longest(*ranges):
            for written in row:
                if written is not None:
                    yield written[1]


@dataclass
class MemoryReplays:
    """The port ``Replays`` without a server."""

    replays: dict[int, Replay] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def alone(self, topic: str) -> AsyncIterator[bool]:
        """See the port."""
        mine = topic not in self._busy
        self._busy.add(topic)
        try:
            yield mine
        finally:
            if mine:
                self._busy.remove(topic)

    async def begin(self, request: Request, parts: Sequence[Part], *, by: str) -> Replay:
        """See the port."""
        replay = Replay(len(self.replays) + 1, request, tuple(sorted(parts)), by, datetime.now(UTC))
        self.replays[replay.replay_id] = replay
        return replay

    async def find(self, replay_id: int) -> Replay | None:
        """See the port."""
        return self.replays.get(replay_id)

    async def newest(self) -> list[Replay]:
        """See the port."""
        return sorted(self.replays.values(), reverse=True, key=lambda one: one.replay_id)[:100]

    async def save(self, replay_id: int, *, next_by_part: Mapping[int, int], sent_count: int, sent_bytes: int) -> None:
        """See the port."""
        replay = self.replays[replay_id]
        parts = tuple(one._replace(next=next_by_part.get(one.number, one.next)) for one in replay.parts)
        self.replays[replay_id] = replay._replace(parts=parts, sent_count=sent_count, sent_bytes=sent_bytes)

    async def end(self, replay_id: int) -> None:
        """See the port."""
        replay = self.replays[replay_id]
        self.replays[replay_id] = replay._replace(ended_at=replay.ended_at or datetime.now(UTC))
