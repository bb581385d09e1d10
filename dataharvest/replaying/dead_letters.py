"""What can be done about a dead letter: look at it, send its message again, or lay it aside with a reason."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from dataharvest.errors import Rejected
from dataharvest.ports import Position, Resender

State = Literal["open", "replayed", "discarded"]
Headers = Sequence[tuple[str, bytes | None]]
ONLY_OPEN: tuple[State, ...] = ("open",)
SOURCE_HEADER = "replayed_from"
"""Header of every message that was sent again: where it was taken from, ``topic:partition:offset``."""


class LetterChoice(NamedTuple):
    """Which dead letters; None stands for any."""

    positions: Sequence[Position] | None = None
    topic: str | None = None
    stage: str | None = None
    rule: str | None = None
    state: State | None = None


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A rejected message, as the ledger knows it."""

    position: Position
    stage: str
    rule: str
    reason: str
    failed_at: datetime
    state: State
    letter: Position | None = None
    """Where it lies on the topic ``dead-letters``; None when an older version of the program has put it there."""

    @property
    def name(self) -> str:
        """What it is called: topic, partition and offset of the message."""
        return name_of(self.position)


@dataclass(frozen=True, kw_only=True)
class LetterContent:
    """The original message, byte for byte, and the details of its reason."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LetterAction:
    """What somebody did about a dead letter."""

    position: Position
    action: Literal["replayed", "discarded"]
    by_whom: str
    reason: str
    acted_at: datetime
    sent_to: Position | None = None
    """Where the message is now."""


class TakenLetter(Protocol):
    """A dead letter that nobody else can do anything about until the block ends."""

    letter: DeadLetter

    async def settle(
        self, state: Literal["replayed", "discarded"], *, by: str, reason: str, sent_to: Position | None = None
    ) -> None:
        """Note what was done; kept when the block ends without an error."""


class DeadLetterBox(Protocol):
    """Dead letters after they were kept."""

    async def find(self, choice: LetterChoice) -> list[DeadLetter]:
        """The letters that are meant, oldest first."""

    async def content(self, letter: DeadLetter) -> LetterContent:
        """The message itself.

        Raises:
            Rejected: rule ``letter_gone``: Kafka keeps it no longer.
        """

    def taken(self, position: Position) -> AbstractAsyncContextManager[TakenLetter]:
        """The letter, for oneself.

        Raises:
            Rejected: rule ``unknown_letter``: there is none of that position.
            Unavailable: somebody else has had it for some seconds.
        """

    async def history(self, position: Position | None = None) -> list[LetterAction]:
        """What was done about a letter, or about all, oldest first."""


class Outcome(NamedTuple):
    """What became of a wish about one letter."""

    position: Position
    done: bool
    sentence: str
    failed: bool = False
    """Whether it could not be done, rather than needed not."""


async def replay_letter(
    position: Position, *, box: DeadLetterBox, sender: Resender, by: str, states: Collection[State] = ONLY_OPEN
) -> Outcome:
    """Send a letter's message to its topic again, with its key; a letter that is in none of these states is left alone.

    When the program ends between sending and noting, the letter stays as it was and may be sent once more: every stage takes a
    message twice.

    Raises:
        Rejected: there is no such letter, or its bytes are gone.
    """
    async with box.taken(position) as taken:
        if taken.letter.state not in states:
            return await _left_alone(taken.letter, box)
        content = await box.content(taken.letter)
        sent_to = await sender.resend(
            position.topic,
            key=content.key,
            value=content.value,
            headers=with_source(content.headers, position),
            partition=position.partition,
        )
        await taken.settle("replayed", by=by, reason="", sent_to=sent_to)
    return Outcome(position, True, f"{name_of(position)} sent again, as {name_of(sent_to)}")


async def discard_letter(position: Position, *, box: DeadLetterBox, by: str, reason: str) -> Outcome:
    """Lay an open letter aside; one that was replayed or discarded is left alone.

    Raises:
        Rejected: there is no such letter.
    """
    async with box.taken(position) as taken:
        if taken.letter.state != "open":
            return await _left_alone(taken.letter, box)
        await taken.settle("discarded", by=by, reason=reason)
    return Outcome(position, True, f"{name_of(position)} discarded")


async def _left_alone(letter: DeadLetter, box: DeadLetterBox) -> Outcome:
    last = (await box.history(letter.position))[-1]
    reason = f": {last.reason}" if last.reason else ""
    when = f"{last.acted_at:%F %T} UTC by {last.by_whom}{reason}"
    return Outcome(letter.position, False, f"{letter.name} left alone: {letter.state} on {when}")


def with_source(headers: Headers, position: Position) -> list[tuple[str, bytes | None]]:
    """The headers with the place that the message was taken from, in place of an earlier one."""
    return [*(one for one in headers if one[0] != SOURCE_HEADER), (SOURCE_HEADER, name_of(position).encode())]


def name_of(position: Position) -> str:
    """A position as one word, ``topic:partition:offset``."""
    return ":".join(map(str, position))


def position_named(name: str) -> Position:
    """The position that a word like ``chunks:3:17`` names.

    Raises:
        Rejected: rule ``letter_name``: it is no such word.
    """
    topic, _, rest = name.partition(":")
    partition, _, offset = rest.partition(":")
    if topic and _is_number(partition, digits=9) and _is_number(offset, digits=18):
        return Position(topic, int(partition), int(offset))
    raise Rejected(f"{name!r} names no message, expected topic:partition:offset, for example chunks:3:17", rule="letter_name")


def _is_number(text: str, *, digits: int) -> bool:
    # More digits than Kafka ever gives would not fit into the ledger's columns.
    return text.isascii() and text.isdigit() and len(text) <= digits


def was_sent_again(headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] | None) -> bool:
    """Whether somebody had the message sent once more, by its headers, however the client keeps them."""
    return SOURCE_HEADER in dict(headers or ())
