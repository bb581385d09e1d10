"""What workers remember of themselves, kept in memory: the fake of the journal."""

from dataclasses import dataclass, field

from dataharvest.ports import Position


@dataclass
class MemoryJournal:
    """The port ``AttemptJournal`` without a server; ``dead_lately`` says what it reports of other workers."""

    attempts: dict[Position, int] = field(default_factory=dict)
    dead_lately: bool = False
    given_up_keys: set[bytes] = field(default_factory=set)

    async def load(self) -> tuple[dict[Position, int], bool]:
        """See the port."""
        return dict(self.attempts), self.dead_lately

    async def add(self, position: Position, *, error: str | None) -> None:
        """See the port."""
        self.attempts[position] = self.attempts.get(position, 0) + 1

    async def remove(self, position: Position) -> None:
        """See the port."""
        self.attempts.pop(position, None)

    async def given_up(self) -> set[bytes]:
        """See the port."""
        return set(self.given_up_keys)
