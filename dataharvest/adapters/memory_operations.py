"""What workers remember of themselves, kept in memory: the fakes of journal and sweep state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.deliveries import SetKey
from dataharvest.messages import RuleReady
from dataharvest.ports import Position


@dataclass
class MemoryJournal:
    """The port ``AttemptJournal`` without a server; ``dead_lately`` says what it reports of other workers."""

    attempts: dict[Position, int] = field(default_factory=dict)
    dead_lately: bool = False

    async def load(self) -> tuple[dict[Position, int], bool]:
        """See the port."""
        return dict(self.attempts), self.dead_lately

    async def add(self, position: Position, *, error: str | None) -> None:
        """See the port."""
        self.attempts[position] = self.attempts.get(position, 0) + 1

    async def remove(self, position: Position) -> None:
        """See the port."""
        self.attempts.pop(position, None)


@dataclass
class MemorySweepState:
    """The port ``SweepState`` without a server; nothing is too young to be overdue."""

    ledger: MemoryLedger
    _taken: bool = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """See the port."""
        mine, self._taken = not self._taken, True
        try:
            yield mine
        finally:
            self._taken = not mine

    async def overdue_readiness(self) -> list[SetKey]:
        """See the port."""
        versions = self.ledger.versions.items()
        return [key for key, found in versions if any(not sent for one in found for sent in one.readiness.values())]

    async def overdue_batches(self) -> list[RuleReady]:
        """See the port."""
        return [
            RuleReady(tenant=key.tenant, business_date=key.business_date, version=one.version, rule=rule)
            for key, found in self.ledger.versions.items()
            for one in found
            for rule, batches in one.batches.items()
            if one.state == "open" and not all(batch.is_sent for batch in batches)
        ]
