"""Messages kept in memory: the fakes of sender and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dataharvest import tracing
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.errors import Rejected
from dataharvest.ports import Position, RawMessage
from dataharvest.rules.subjects import is_settled_by, subject_of
from dataharvest.tenants import ChunkKey


class Sent(NamedTuple):
    """A message as it was sent."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass
class MemorySender:
    """The port ``Sender`` without a broker; keeps every message in the order of sending."""

    sent: list[Sent] = field(default_factory=list)

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """See the port."""
        self.sent.append(Sent(topic, key, value, tracing.headers()))
        return Position(topic, 0, len(self.sent) - 1)

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
        # Whoever reads what was sent knows no message without key or value.
        self.sent.append(Sent(topic, key or b"", value or b"", tuple(headers)))
        return Position(topic, partition, len(self.sent) - 1)

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """See the port."""
        self.sent += [Sent(topic, key, value, tracing.headers()) for key, value in messages]


@dataclass
class MemoryDeadLetters:
    """The port ``DeadLetters`` without a broker: original value, stage and reason by position."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    kept: dict[Position, tuple[bytes | None, str, Rejected]] = field(default_factory=dict)

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """See the port."""
        self.kept.setdefault(position, (message.value, stage, reason))
        if position.topic == "work":
            self.ledger.dead_work.add(position)
        about = subject_of(position.topic, message.value)
        if about.delivery_id is None:
            return
        if about.chunk_index is None or about.chunk_sha256 is None:
            self.ledger.dead_judgements.add(about.delivery_id)
        elif is_settled_by(reason.rule):
            self.ledger.dead_chunks[ChunkKey(about.delivery_id, about.chunk_index)] = about.chunk_sha256
