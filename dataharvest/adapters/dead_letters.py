"""Dead letters after they were kept: their rows in PostgreSQL, their bytes on the topic ``dead-letters``."""

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import orjson

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.errors import Rejected
from dataharvest.ports import Position
from dataharvest.replaying.dead_letters import DeadLetter, LetterAction, LetterChoice, LetterContent, name_of
from dataharvest.replaying.log import Span, TopicLog
from dataharvest.sql import queries

_SQL = queries("dead_letters")
LETTERS = "dead-letters"


class StoredDeadLetters:
    """The port ``DeadLetterBox`` on PostgreSQL and Kafka."""

    def __init__(self, database: Database, log: TopicLog) -> None:
        self._database = database
        self._log = log

    async def find(self, choice: LetterChoice) -> list[DeadLetter]:
        """See the port."""
        names = None if choice.positions is None else [name_of(one) for one in choice.positions]
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["find"], choice.topic, choice.stage, choice.rule, choice.state, names)
        return [_letter(row) for row in rows]

    async def content(self, letter: DeadLetter) -> LetterContent:
        """See the port."""
        bounds = await self._log.bounds(LETTERS)
        if letter.letter is None:
            spans = bounds
        else:
            partition, offset = letter.letter.partition, letter.letter.offset
            # Only this one message; nothing when the topic has lost it.
            spans = {partition: Span(offset, offset + 1)} if bounds[partition].start <= offset < bounds[partition].stop else {}
        if spans:
            async with aclosing(self._log.read(LETTERS, spans)) as messages:  # type: ignore[type-var]
                async for one in messages:
                    if one.key == letter.name.encode() and one.value is not None:
                        return _content(orjson.loads(one.value))
        message = f"the bytes of {letter.name} are gone: the topic {LETTERS} keeps them no longer"
        raise Rejected(message, rule="letter_gone", position=letter.name)

    @asynccontextmanager
    async def taken(self, position: Position) -> AsyncIterator["TakenLetter"]:
        """See the port."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["lock"], *position)
            if row is None:
                raise Rejected(f"there is no dead letter {name_of(position)}", rule="unknown_letter")
            yield TakenLetter(connection, _letter(row))

    async def history(self, position: Position | None = None) -> list[LetterAction]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["history"], None if position is None else name_of(position))
        return [_action(row) for row in rows]


class TakenLetter:
    """A dead letter whose row is locked."""

    def __init__(self, connection: Connection, letter: DeadLetter) -> None:
        self._connection = connection
        self.letter = letter

    async def settle(
        self, state: Literal["replayed", "discarded"], *, by: str, reason: str, sent_to: Position | None = None
    ) -> None:
        """See the port."""
        position = self.letter.position
        place = (sent_to.partition, sent_to.offset) if sent_to else (None, None)
        await self._connection.execute(_SQL["set_state"], *position, state)
        await self._connection.execute(_SQL["add_action"], *position, state, by, reason, *place)
        if sent_to is not None:
            await self._connection.execute(_SQL["move_batch"], position.partition, position.offset, *place, position.topic)


def _letter(row: Any) -> DeadLetter:
    known = row["letter_offset"] is not None
    return DeadLetter(
        position=_position(row),
        stage=row["stage"],
        rule=row["rule"],
        reason=row["reason"],
        failed_at=row["failed_at"],
        state=row["state"],
        letter=Position(LETTERS, row["letter_partition"], row["letter_offset"]) if known else None,
    )


def _action(row: Any) -> LetterAction:
    was_sent = row["sent_offset"] is not None
    return LetterAction(
        position=_position(row),
        action=row["action"],
        by_whom=row["by_whom"],
        reason=row["reason"],
        acted_at=row["acted_at"],
        sent_to=Position(row["topic"], row["sent_partition"], row["sent_offset"]) if was_sent else None,
    )


def _position(row: Any) -> Position:
    return Position(row["topic"], row["topic_partition"], row["topic_offset"])


def _content(letter: dict[str, Any]) -> LetterContent:
    return LetterContent(
        key=_bytes(letter["key"]),
        value=_bytes(letter["value"]),
        headers=[(name, _bytes(header)) for name, header in letter["headers"]],
        details=letter["details"],
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
