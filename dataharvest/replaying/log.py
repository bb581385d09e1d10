"""A topic as something that was written down: where it begins and ends, and what stands in a range of it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from dataharvest.ports import Position


class Span(NamedTuple):
    """Offsets from ``start`` up to and without ``stop``."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class LoggedMessage:
    """A message as the topic keeps it."""

    position: Position
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()

    @property
    def byte_count(self) -> int:
        """Length of key and value."""
        return len(self.key or b"") + len(self.value or b"")


class TopicLog(Protocol):
    """The topics of a broker, read without any consumer group. Every method raises Unavailable when the broker is not there."""

    async def bounds(self, topic: str) -> dict[int, Span]:
        """What each partition holds now.

        Raises:
            Misconfigured: there is no such topic.
        """

    async def offsets_at(self, topic: str, moment: datetime, *, partitions: Collection[int]) -> dict[int, int | None]:
        """The first offset of each partition that is not older than the moment; None where everything is older."""

    def read(self, topic: str, spans: Mapping[int, Span]) -> AsyncIterator[LoggedMessage]:
        """The messages of these ranges that the topic still has, partitions in turn, each in order."""
