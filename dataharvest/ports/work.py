"""What the stages need of batches, values and outbound messages."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import polars as pl

from dataharvest.deliveries import (
    OpenBatch,
)
from dataharvest.messages import Batch, RuleReady
from dataharvest.outbound import OutboundMessage
from dataharvest.ports.messaging import Position
from dataharvest.ports.sets import LockedSet
from dataharvest.rules.carrying import NOTHING, Carried
from dataharvest.rules.notifying import Note
from dataharvest.rules.outbound_messages import LastMessage, OutboundRow
from dataharvest.transformers.model import Per, Reads


class LockedBatch(Protocol):
    """A batch in a transaction that keeps its version from being cancelled."""

    opened: OpenBatch

    async def frames(self, reads: Reads, *, per: Per) -> dict[str, pl.DataFrame]:
        """The rows of each entity that concern the batch; money as Decimal, everything else as text or integer."""

    async def values(self, takes: Reads) -> pl.DataFrame:
        """Values of transformers side by side, by ``reference``."""

    async def mixed_currency_count(self) -> int:
        """Clients of the version with accounts in more than one currency; to be asked after ``relate``."""

    async def relate(self) -> dict[str, int] | None:
        """Link clients, portfolios and accounts of the slice.

        Returns:
            The number of orphans of the whole version by kind, if every other slice is related; else None: whoever is last
            has to judge. Of two slices at work at once the second waits here for the first one's end.
        """

    async def block(self, failure: dict[str, Any]) -> None:
        """Keep the version from going on, with the reason."""

    async def notify(self, note: Note) -> None:
        """Leave a notification to be sent, unless there is one with its id."""

    async def store_values(self, values: pl.DataFrame, *, transformer: str, logic_version: int) -> None:
        """Store ``reference`` and ``fields`` (JSON) of the batch."""

    async def carry_values(self, *, transformer: str) -> None:
        """Store the batch's share of the base's values as the version's own."""

    async def last_outbound(self, *, kind: str) -> dict[str, LastMessage]:
        """The newest message of older versions for each key of the batch, by reference."""

    async def store_outbound(self, rows: Sequence[OutboundRow], *, kind: str) -> None:
        """Store messages, unsent."""

    async def mark_computed(self, *, made_by: str | None = None, is_done: bool = False, provides: str | None = None) -> None:
        """Values or messages of the batch are stored, by this declaration; what is taken over keeps the base's.

        Where ``is_done``, nothing is left to do for the batch; if it is the only one of its rule, the fact that it
        ``provides`` holds.
        """


class BatchesToSend(Protocol):
    """Batches of one tenant whose turn it is."""

    batches: list[Batch]

    def trace_of(self, batch: Batch) -> str | None:
        """The span that the batch belongs to, where one is kept with its version."""

    async def mark_sent(self, batch: Batch, position: Position) -> None:
        """The batch is in Kafka, there; kept when the block ends without an error."""


class BesideBase(Protocol):
    """A version beside its base: the version published before it, of which every row is still there."""

    carried: frozenset[str]
    """What its other rules take over: for each the rule, a dot and ``links``, ``orphans``, ``values`` or ``messages``."""

    def has_same_file(self, entity: str) -> bool:
        """Whether both are made of the same delivery of the entity, or both of none."""

    def may_be_same(self, entity: str) -> bool:
        """Whether it is worth comparing: False where there are more records of the one, or too many."""

    async def has_same(self, entity: str, columns: Sequence[str]) -> bool:
        """Whether the rows of both are the same in these columns; False where there are too many to be compared."""

    async def base_made_by(self, rule: str) -> str | None:
        """The declaration by which all batches of a rule of the base were computed; None if there is no such one."""

    async def changed_references(self, outbound: OutboundMessage) -> tuple[str, ...] | None:
        """Clients or portfolios with other records or values than in the base, in order; None where they are too many.

        To be asked only where the links are the same.
        """


class Work(Protocol):
    """Batches from plan to done."""

    async def record_counts(self, ready: RuleReady) -> dict[str, int]:
        """Stored records of the version by entity."""

    def beside_base(self, ready: RuleReady) -> AbstractAsyncContextManager[BesideBase | None]:
        """The version and its base; None where it has none, does not count any more, or has the rule planned already."""

    async def plan(self, ready: RuleReady, *, batch_count: int, carried: Carried = NOTHING, is_held: bool = False) -> bool:
        """Insert the batches of a rule, unless they are planned already or the version was cancelled; whether this call did.

        Batches that are held are the caller's, who does them or releases them; nobody sends them meanwhile.
        """

    async def plan_small(self, ready: RuleReady, *, at_most: int) -> tuple[dict[str, int], bool]:
        """As ``record_counts``, and ``plan`` of a single batch that is held if they are no more than ``at_most`` together."""

    async def is_done(self, batch: Batch) -> bool:
        """Whether the batch was planned, as one of so many, and nothing is left to do for it."""

    async def release(self, batch: Batch) -> None:
        """Let a batch that was held be sent, whoever held it, unless it was sent or is done."""

    async def unsent(self, ready: RuleReady) -> list[Batch]:
        """Planned batches that were not sent."""

    async def mark_sent(self, batch: Batch, position: Position | None = None) -> None:
        """The batch is in Kafka, there."""

    def next_batches(self, tenant: str, *, at_once: int) -> AbstractAsyncContextManager[BatchesToSend]:
        """Batches to send now: those sent and not done stay ``at_once`` of the tenant; nobody else chooses meanwhile."""

    def open_batch(self, batch: Batch, *, within: LockedSet | None = None) -> AbstractAsyncContextManager[LockedBatch | None]:
        """The batch in a transaction, or in that of its set; None when its version is cancelled or blocked."""

    async def unsent_outbound(self, opened: OpenBatch, batch: Batch, *, kind: str) -> list[tuple[str, str, bytes]]:
        """Message id, reference and payload of what the batch has to send: all it has stored, and nothing once it is done."""

    async def mark_done(
        self, opened: OpenBatch, batch: Batch, *, provides: str | None = None, within: LockedSet | None = None
    ) -> None:
        """Nothing is left to do for the batch: its messages, if it has any, are in Kafka. The first mark stays.

        If it is the only batch of its rule, the fact that it ``provides`` holds.
        """
