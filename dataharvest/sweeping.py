"""What a sweep looks at: effects that were not sent, messages that got lost, sets that are late."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import NamedTuple, Protocol

from dataharvest.deliveries import Announcement, Lease, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import Position
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import Note


class SentBatch(NamedTuple):
    """A batch that was sent, and where its message is, if that is known."""

    batch: Batch
    position: Position | None


class Gap(NamedTuple):
    """A sealed delivery that lacks chunks."""

    lease: Lease
    """What a splitter has to know of it; no right to seal."""
    sent_offsets: Mapping[int, int]
    """The largest offset by partition of its chunks on Kafka."""


class Due(NamedTuple):
    """When a tenant's sets must be complete."""

    tenant: str
    due_at: Callable[[date], datetime | None]
    """Moment for a business date; None when no files are due."""
    since: datetime
    """From when on the tenant's contract says so."""


class Consumption(Protocol):
    """How far the workers have read the topics."""

    async def have_passed(self, topic: str, offsets: Mapping[int, int]) -> bool:
        """Whether every one of these offsets, by partition, was read and committed, or is no longer on the topic."""


class SweepState(Protocol):
    """What a sweep has to look at. Unsent is overdue after 60 s; sent and without a consequence, after 60 or 120 s."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else sweeps now; held until the block ends."""

    async def now(self) -> datetime:
        """The moment, by the clock that everything else goes by."""

    async def wake_for_unread(self) -> int:
        """Wake the splitters if deliveries wait that nobody reads: a lease lapsed, or nothing at all is read; how many."""

    async def overdue_readiness(self) -> list[SetKey]:
        """Sets with a readiness that should have been sent long ago."""

    async def unplanned_rules(self) -> list[RuleReady]:
        """Readiness that was sent and not planned."""

    async def tenants_with_overdue_batches(self) -> list[str]:
        """Tenants with a batch that should have been sent long ago."""

    async def silent_batches(self) -> list[SentBatch]:
        """Batches that were sent and are not done, in versions in which nothing moved."""

    async def unsent_outbound(self) -> list[Batch]:
        """Batches of outbound messages that were sent long ago and are not done, though their version is published."""

    async def untold_rules(self, rules: Iterable[Rule]) -> list[Batch]:
        """A batch of every rule whose batches are all done while its fact is not recorded."""

    async def idle_sets(self) -> list[SetKey]:
        """Sets with an open version for which nothing is planned or sent."""

    async def untold_deliveries(self) -> list[Announcement]:
        """Sealed deliveries whose chunks are all there, and that nobody concluded."""

    async def gaps(self) -> list[Gap]:
        """Sealed deliveries that lack chunks and of which nothing moved; none of a paused tenant."""

    async def cutoffs(self) -> list[Due]:
        """When the sets of those tenants must be complete whose contracts say so."""

    async def mark_late(self, key: SetKey, due_at: datetime, note: Note) -> bool:
        """Mark a set that had no version by then, and leave a notification; False when it had one, or was marked before."""
