"""Dead letters in memory: kept, looked at and settled; for tests, under the contract of the real ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from dataharvest.adapters.memory_kafka import MemoryDeadLetters
from dataharvest.errors import Rejected
from dataharvest.ports import Position, RawMessage
from dataharvest.replaying.dead_letters import DeadLetter, LetterAction, LetterChoice, LetterContent, name_of
from dataharvest.rules.subjects import subject_of
from dataharvest.tenants import ChunkKey


@dataclass
class MemoryDeadLetterBox(MemoryDeadLetters):
    """The ports ``DeadLetters`` and ``DeadLetterBox`` without servers."""

    letters: dict[Position, DeadLetter] = field(default_factory=dict)
    contents: dict[Position, LetterContent] = field(default_factory=dict)
    actions: list[LetterAction] = field(default_factory=list)
    _locks: dict[Position, asyncio.Lock] = field(default_factory=dict)

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """See the port ``DeadLetters``."""
        await super().keep(position, message=message, stage=stage, reason=reason)
        pairs = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
        details = {name: str(detail) for name, detail in reason.details.items()}
        self.contents[position] = LetterContent(key=message.key, value=message.value, headers=list(pairs), details=details)
        letter = DeadLetter(
            position=position,
            stage=stage,
            rule=reason.rule,
            reason=reason.message,
            failed_at=datetime.now(UTC),
            state="open",
            letter=Position("dead-letters", 0, len(self.letters)),
        )
        self.letters.setdefault(position, letter)

    async def find(self, choice: LetterChoice) -> list[DeadLetter]:
        """See the port."""
        wanted = {"topic": choice.topic, "stage": choice.stage, "rule": choice.rule, "state": choice.state}
        return [
            one
            for one in self.letters.values()
            if (choice.positions is None or one.position in choice.positions)
            and all(value in (None, getattr(one, name, one.position.topic)) for name, value in wanted.items())
        ]

    async def content(self, letter: DeadLetter) -> LetterContent:
        """See the port."""
        if letter.position not in self.contents:
            raise Rejected(f"the bytes of {letter.name} are gone", rule="letter_gone")
        return self.contents[letter.position]

    @asynccontextmanager
    async def taken(self, position: Position) -> AsyncIterator["TakenMemoryLetter"]:
        """See the port."""
        if position not in self.letters:
            raise Rejected(f"there is no dead letter {name_of(position)}", rule="unknown_letter")
        async with self._locks.setdefault(position, asyncio.Lock()):
            taken = TakenMemoryLetter(self.letters[position])
            yield taken
            if taken.action is not None:
                self.letters[position] = replace(self.letters[position], state=taken.action.action)
                self.actions.append(taken.action)
                if taken.action.action == "replayed":
                    self._wait_no_more(position, taken.action.sent_to)

    def _wait_no_more(self, position: Position, sent_to: Position | None) -> None:
        self.ledger.dead_work.discard(position)
        for versions in self.ledger.versions.values():
            for batch in (one for version in versions for batches in version.batches.values() for one in batches):
                if batch.position == position:
                    # The batch's message is another now.
                    batch.position = sent_to
        about = subject_of(position.topic, self.contents[position].value)
        if about.delivery_id is not None and about.chunk_index is not None:
            self.ledger.dead_chunks.pop(ChunkKey(about.delivery_id, about.chunk_index), None)
        elif about.delivery_id is not None:
            self.ledger.dead_judgements.discard(about.delivery_id)

    async def history(self, position: Position | None = None) -> list[LetterAction]:
        """See the port."""
        return [one for one in self.actions if position in (None, one.position)]


@dataclass
class TakenMemoryLetter:
    """A letter that is locked."""

    letter: DeadLetter
    action: LetterAction | None = None

    async def settle(
        self, state: Literal["replayed", "discarded"], *, by: str, reason: str, sent_to: Position | None = None
    ) -> None:
        """See the port."""
        self.action = LetterAction(
            position=self.letter.position,
            action=state,
            by_whom=by,
            reason=reason,
            acted_at=datetime.now(UTC),
            sent_to=sent_to,
        )
