"""What the stages need from Kafka, and from the memory of failed attempts."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from dataharvest.errors import Rejected


class Position(NamedTuple):
    """Place of a message in Kafka."""

    topic: str
    partition: int
    offset: int


class RawMessage(Protocol):
    """The original bytes of a message."""

    key: Any
    value: Any
    headers: Any


class Sender(Protocol):
    """Sends to Kafka and waits until the broker has it."""

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """One message, acknowledged by all replicas when this returns; where it is."""

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Messages as (key, value), all acknowledged when this returns; the order within a partition is kept."""


class Resender(Protocol):
    """Sends a message once more, as it was."""

    async def resend(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        partition: int,
    ) -> Position:
        """Acknowledged by all replicas when this returns; where it is.

        Its key decides on the partition, as it did the first time; ``partition`` only where there is no key.

        Raises:
            Rejected: the broker takes no such message: it is too large, or has neither key nor value.
            Unavailable: the broker is not there.
        """


class AttemptJournal(Protocol):
    """Remembers which messages were in hand when a worker ended."""

    async def load(self) -> tuple[dict[Position, int], bool]:
        """Crashes per message, and whether a worker was found dead lately."""

    async def add(self, position: Position, *, error: str | None) -> None:
        """Count one more attempt."""

    async def remove(self, position: Position) -> None:
        """Forget the message."""

    async def given_up(self) -> set[bytes]:
        """Keys of the chunks that were dead-lettered because they ended their workers, and not replayed since."""


class DeadLetters(Protocol):
    """Keeps what can never succeed."""

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """Keep the original bytes and the reason; identified by position, so twice is once."""
