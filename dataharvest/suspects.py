"""Which messages may be ending their workers: remembered across crashes, so that one message cannot stop a partition for ever."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from dataharvest.errors import Unavailable
from dataharvest.ports import AttemptJournal, Position

_COPIED = "chunks"
CAUTIOUS_MESSAGES = 64
"""Messages per partition, after a worker died without a word, before which an attempt is written down."""


@dataclass
class Suspects:
    """Counts the crashes of a message, also of those that left no exception behind (panic, out of memory).

    Normally no query is made: the journal is read once per assignment, and written only when a message ends its worker.
    After a worker was found dead, the first messages of every partition are written down before they are handled. All that
    are in hand when a worker dies are suspects; from then on they are handled one at a time, under ``alone``, so that the
    next death counts against one of them only, and a poisonous message takes no good one along.
    """

    journal: AttemptJournal
    _known: dict[Position, int] = field(default_factory=dict)
    _given_up: set[bytes] = field(default_factory=set)
    _loaded: bool = False
    _cautious: bool = False
    _seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    _noted: set[Position] = field(default_factory=set)
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Read the journal again: partitions were assigned, perhaps from a worker that died."""
        self._loaded = False

    async def crashes_before(self, position: Position) -> int:
        """How often this message was in hand when its worker ended."""
        if not self._loaded:
            self._known, self._cautious = await self.journal.load()
            self._given_up = await self.journal.given_up()
            self._seen.clear()
            self._loaded = True
        return self._known.get(position, 0)

    async def is_given_up(self, position: Position, key: bytes | None) -> bool:
        """Whether another copy of this chunk was dead-lettered because it ended its workers, and nobody has replayed it.

        A splitter that dies with its worker sends what it had sent before: each copy would end three workers more.
        Asked after ``crashes_before``.
        """
        if position.topic != _COPIED or key not in self._given_up:
            return False
        # Somebody may have replayed it meanwhile: then this copy is to be tried.
        self._given_up = await self.journal.given_up()
        return key in self._given_up

    async def note(self, position: Position) -> None:
        """Write down that the message is in hand, where caution is needed."""
        if self._cautious and position not in self._noted:
            self._seen[position.topic, position.partition] += 1
            if self._seen[position.topic, position.partition] <= CAUTIOUS_MESSAGES:
                await self.journal.add(position, error=None)
                self._noted.add(position)

    async def clear(self, position: Position) -> None:
        """The message was handled or dead-lettered."""
        if position in self._noted or position in self._known:
            await self.journal.remove(position)
            self._noted.discard(position)
            self._known.pop(position, None)

    async def record_crash(self, position: Position, error: Exception) -> None:
        """Write down that the message is about to end this worker; an outage must not keep it from ending."""
        if position not in self._noted:
            try:
                await self.journal.add(position, error=type(error).__name__)
            except Unavailable:
                return
