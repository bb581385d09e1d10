"""What the stages need from the outside, and what each port promises.

Only Rejected, Unavailable and ObjectTrouble cross a port. Every method may be called again with the same arguments.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import polars as pl

from dataharvest.deliveries import Announcement, ChunkOutcome, Lease, OpenBatch, Sealing, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, ChunkMetadata, RuleReady
from dataharvest.objects import ObjectVersion
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.needs import Rule
from dataharvest.rules.outbound_messages import LastMessage, OutboundRow
from dataharvest.rules.progress import SetProgress
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.versions import SetView
from dataharvest.transformers.model import Per, Reads


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

    async def send(self, topic: str, *, key: bytes, value: bytes) -> None:
        """One message, acknowledged by all replicas when this returns."""

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Messages as (key, value), all acknowledged when this returns; the order within a partition is kept."""


class AttemptJournal(Protocol):
    """Remembers which messages were in hand when a worker ended."""

    async def load(self) -> tuple[dict[Position, int], bool]:
        """Crashes per message, and whether a worker was found dead lately."""

    async def add(self, position: Position, *, error: str | None) -> None:
        """Count one more attempt."""

    async def remove(self, position: Position) -> None:
        """Forget the message."""


class DeadLetters(Protocol):
    """Keeps what can never succeed."""

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        """Keep the original bytes and the reason; identified by position, so twice is once."""


class Deliveries(Protocol):
    """Deliveries from their registration to their completion."""

    async def register(self, source: ObjectVersion, name: ObjectName) -> int | None:
        """Insert the delivery and wake the splitters; None when this content of the key is known already."""

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """Insert a delivery that can't be read at all; None when it is known already."""

    async def lease(self) -> Lease | None:
        """The right to split the next delivery, tenants in turn; None when there is none to split."""

    async def renew(self, lease: Lease) -> bool:
        """Prolong the lease; False when another splitter has it."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back unfinished, so that another splitter can go on at once."""

    async def wait_for_object(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """Put the delivery aside, with the reason and a next try; a newer one known already supersedes it."""

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """SHA-256 by index of the chunks in the ledger."""

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """Number of chunks in the ledger."""

    async def seal(self, lease: Lease, sealing: Sealing) -> bool:
        """Record the end of the content, or end the delivery as a repeat; False when the lease was lost."""

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """End the delivery and remove its rows; False when it had ended or completed before."""

    async def complete(self, delivery_id: int) -> str:
        """Complete a sealed delivery whose chunks are all in the ledger and tile its content; returns its state.

        One that a newer complete delivery has overtaken is superseded instead.
        """

    async def unannounced(self) -> list[Announcement]:
        """Deliveries whose sealing or end the set has not been told of."""

    async def mark_announced(self, delivery_id: int) -> None:
        """The set was told."""

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the deliveries under these keys."""

    def wake_ups(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever a delivery was registered."""


class Chunks(Protocol):
    """The ledger of chunks and the rows that go with it."""

    async def persist(self, metadata: ChunkMetadata, checked: CheckedChunk, *, position: Position) -> ChunkOutcome:
        """Rows, quarantined records and ledger row in one transaction, or nothing of them."""


class LockedSet(Protocol):
    """A set whose row is locked."""

    async def view(self) -> SetView:
        """Deliveries that count and versions, as stored."""

    async def create_version(self, version: int, deliveries: Mapping[str, int]) -> None:
        """Freeze these deliveries; older versions that have not begun to publish are cancelled."""

    async def announce(self, version: int, rule: Rule) -> None:
        """Record that the rule may run, unsent."""

    async def set_published(self, version: int) -> None:
        """Every outbound message of the version is out."""


class Sets(Protocol):
    """Sets, their versions and facts."""

    async def progress(self, key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        """What the ledger knows of the set's unfinished deliveries and batches."""

    async def confirm_done(self, key: SetKey, version: int, rule: Rule) -> None:
        """Record the fact the rule provides, if all its batches are done and the version still counts."""

    def locked(self, key: SetKey) -> AbstractAsyncContextManager[LockedSet]:
        """The set in a transaction that no other decision about it can share."""

    async def unsent_readiness(self, key: SetKey) -> list[tuple[int, str]]:
        """Version and rule of what was announced and not sent."""

    async def mark_readiness_sent(self, key: SetKey, version: int, rule: str) -> None:
        """The readiness is in Kafka."""


class LockedBatch(Protocol):
    """A batch in a transaction that keeps its version from being cancelled."""

    opened: OpenBatch

    async def frames(self, reads: Reads, *, per: Per) -> dict[str, pl.DataFrame]:
        """The rows of each entity that concern the batch; money as Decimal, everything else as text or integer."""

    async def values(self, takes: Reads) -> pl.DataFrame:
        """Values of transformers side by side, by ``reference``."""

    async def relate(self) -> dict[str, int]:
        """Link clients, portfolios and accounts of the version; returns the number of orphans by kind."""

    async def block(self, failure: dict[str, Any]) -> None:
        """Keep the version from going on, with the reason."""

    async def store_values(self, values: pl.DataFrame, *, transformer: str, logic_version: int) -> None:
        """Store ``reference`` and ``fields`` (JSON) of the batch."""

    async def last_outbound(self, *, kind: str) -> dict[str, LastMessage]:
        """The newest message of older versions for each key of the batch, by reference."""

    async def store_outbound(self, rows: Sequence[OutboundRow], *, kind: str) -> None:
        """Store messages, unsent."""

    async def mark_computed(self) -> None:
        """Values or messages of the batch are stored."""

    async def mark_done(self) -> None:
        """Nothing is left to do for the batch."""


class Work(Protocol):
    """Batches from plan to done."""

    async def record_counts(self, ready: RuleReady) -> dict[str, int]:
        """Stored records of the version by entity."""

    async def plan(self, ready: RuleReady, *, batch_count: int) -> None:
        """Insert the batches of a rule, unless they are planned already or the version was cancelled."""

    async def unsent(self, ready: RuleReady) -> list[Batch]:
        """Planned batches that were not sent."""

    async def mark_sent(self, batch: Batch) -> None:
        """The batch is in Kafka."""

    def open_batch(self, batch: Batch) -> AbstractAsyncContextManager[LockedBatch | None]:
        """The batch in a transaction; None when its version is cancelled or blocked."""

    async def unsent_outbound(self, opened: OpenBatch, batch: Batch, *, kind: str) -> list[tuple[UUID, UUID, bytes]]:
        """Message id, reference and payload of what the batch has not sent."""

    async def mark_outbound_sent(self, opened: OpenBatch, batch: Batch, *, kind: str, message_ids: Sequence[UUID]) -> None:
        """These messages are in Kafka."""

    async def mark_done(self, opened: OpenBatch, batch: Batch) -> None:
        """Nothing is left to do for the batch."""


class SweepState(Protocol):
    """What a sweep has to look at."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else sweeps now."""

    async def overdue_readiness(self) -> list[SetKey]:
        """Sets with a readiness that should have been sent long ago."""

    async def overdue_batches(self) -> list[RuleReady]:
        """Rules with a batch that should have been sent long ago."""
