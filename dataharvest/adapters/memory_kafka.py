"""Messages kept in memory: the fakes of sender and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dataharvest import tracing
from dataharvest.errors import Rejected
from dataharvest.ports import Position, RawMessage


class Sent(NamedTuple):
    """A message as it was sent."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class MemorySender:
    """The port ``Sender`` without a broker; keeps every message in the order of sending."""

    sent: list[Sent] = field(default_factory=list)

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """See the port."""
        self.sent.append(Sent(topic, key, value, tracing.headers()))
        return Position(topic, 0, len(self.sent) - 1)

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """See the port."""
        self.sent += [Sent(topic, key, value, tracing.headers()) for key, value in messages]


@dataclass
class MemoryDeadLetters:
    """The port ``DeadLetters`` without a broker: original value, stage and reason by position."""

    kept: dict[Position, tuple[bytes | None, str, Rejected]] = field(default_factory=dict)

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """See the port."""
        self.kept.setdefault(position, (message.value, stage, reason))
