"""What the stages need from the outside, and what each port promises.

Only Rejected, Unavailable and ObjectTrouble cross a port. Every method may be called again with the same arguments.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import polars as pl

from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import (
    LEASES_PER_TENANT,
    Announcement,
    ChunkOutcome,
    ChunkPlace,
    JudgedDelivery,
    Lease,
    OpenBatch,
    Sealing,
    SetKey,
)
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, ChunkMetadata, Judgement, ManifestRead, RuleReady
from dataharvest.objects import ObjectVersion
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.duplicates import Copy
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.manifest import Manifest
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

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """One message, acknowledged by all replicas when this returns; where it is."""

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


class Contracts(Protocol):
    """Contracts by tenant, numbered from 1 and never changed; version 0 are the defaults."""

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """Number and content of the newest; 0 and the defaults for a tenant without one.

        Raises:
            Rejected: rule ``invalid_contract``: it was stored by a version of the program that knew other fields or entities.
        """

    async def version(self, tenant: str, number: int) -> Contract:
        """One version.

        Raises:
            Rejected: rule ``unknown_contract`` when it is not stored; ``invalid_contract`` as for `current`.
        """

    async def apply(self, tenant: str, contract: Contract) -> int:
        """Store the next version and return its number; one equal to the newest is not stored again."""


class Deliveries(Protocol):
    """Deliveries from their registration to their completion."""

    async def register(self, source: ObjectVersion, name: ObjectName, *, contract_version: int = 0) -> int | None:
        """Insert the delivery and wake the splitters; None when this content of the key is known already."""

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """Insert a delivery that can't be read at all; None when it is known already."""

    async def lease(self, *, per_tenant: int = LEASES_PER_TENANT) -> Lease | None:
        """The right to split the next delivery, tenants in turn; None when there is none to split.

        A tenant's leases belong to one splitter at a time, at most ``per_tenant`` of them; a paused tenant gets none.
        """

    async def renew(self, lease: Lease) -> bool:
        """Prolong the lease; False when another splitter has it."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back unfinished, so that another splitter can go on at once."""

    async def wait_for_object(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """Put the delivery aside, with the reason and a next try; a newer one known already supersedes it."""

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """SHA-256 by index of the chunks in the ledger."""

    async def note_sent(self, lease: Lease, offsets: Mapping[int, int]) -> None:
        """Keep the largest offset by partition of the chunks sent, to know later when all of them were read."""

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """Number of chunks in the ledger."""

    async def seal(self, lease: Lease, sealing: Sealing) -> bool:
        """Record the end of the content, or end the delivery as a repeat; False when the lease was lost."""

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """End the delivery and remove its rows; False when it had ended or completed before."""

    async def unannounced(self) -> list[Announcement]:
        """Deliveries whose sealing or end the set has not been told of."""

    async def mark_announced(self, delivery_id: int) -> None:
        """The set was told."""

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the newest delivery under each of these keys."""

    def wake_ups(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever a delivery was registered."""


class Chunks(Protocol):
    """The ledger of chunks and the rows that go with it."""

    async def persist(self, metadata: ChunkMetadata, checked: CheckedChunk, *, position: Position) -> ChunkOutcome:
        """Rows, quarantined records and ledger row in one transaction, or nothing of them."""


class LockedJudgement(Protocol):
    """A delivery that is being judged, with its row locked; nothing counts unless the block ends without an error."""

    subject: JudgedDelivery

    async def weigh(self) -> bool:
        """Count the rows and tell whether any natural key occurs twice.

        Raises:
            ConservationBroken: there are not as many rows as the ledger says.
        """

    async def find_duplicates(self, rule: DuplicateRule) -> list[ChunkPlace]:
        """Decide what can be decided from the ledger; returns, in order, the chunks that have to be read again.

        Raises:
            Rejected: it cannot be told any more which chunk a row came from.
        """

    async def keys_in(self, index: int) -> set[str]:
        """Natural keys to look for in a chunk that has to be read again."""

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """Take in what was found in a chunk, in order; ``check`` turns a record into the row to store."""

    async def complete(self) -> str:
        """Remove what the rule removes, record counts and sums, and complete the delivery; returns its state.

        What could not be settled, because the object is gone, is quarantined.

        Raises:
            ConservationBroken: the ledger does not add up.
        """


class Judgements(Protocol):
    """Deliveries from the moment they are all there to their completion."""

    async def begin(self, delivery_id: int) -> str:
        """Let a sealed delivery whose chunks are all in the ledger and tile its content be judged; returns its state.

        The state is ``broken`` when the ledger does not add up: the delivery stays sealed, with that as its failure.
        """

    async def unsent(self, key: SetKey) -> list[Judgement]:
        """Judgements of the set that were begun and not sent."""

    async def overdue(self, *, age_s: float) -> list[Judgement]:
        """Judgements that were to be sent, or sent, so long ago and are not done."""

    async def mark_sent(self, delivery_id: int) -> None:
        """The judgement is in Kafka."""

    def open(self, delivery_id: int) -> AbstractAsyncContextManager[LockedJudgement | None]:
        """The delivery in a transaction; None when it is not to be judged, or not any more."""

    async def note_broken(self, delivery_id: int, message: str) -> None:
        """The delivery does not add up: it stays as it is and holds its set up."""


class Removals(Protocol):
    """Rows of deliveries that nobody needs any more."""

    async def due(self, key: SetKey | None = None) -> list[int]:
        """Superseded deliveries, of one set or of all, that have rows which no version needs any more."""

    async def remove(self, delivery_id: int) -> bool:
        """Remove the rows of a superseded delivery; its ledger stays. False when a version needs them or they are gone."""


class Manifests(Protocol):
    """Manifests of every set, those that can't be used too."""

    async def insert(self, key: SetKey, source: ObjectVersion, outcome: Manifest | Rejected) -> int:
        """Store what was read, or why it can't be used; returns its number, the same when this content is known already."""

    async def unannounced(self, *, age_s: float) -> list[ManifestRead]:
        """Manifests registered at least that long ago of which the set may not have been told, oldest first."""

    async def mark_announced(self, manifest_id: int) -> None:
        """Note that the set was told."""

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the newest manifest under each of these keys."""


class LockedSet(Protocol):
    """A set whose row is locked."""

    async def view(self) -> SetView:
        """Deliveries that count and versions, as stored."""

    async def manifest(self) -> Manifest | None:
        """The newest manifest of the set that can be used."""

    async def totals(self, delivery_ids: Collection[int]) -> dict[str, DeliveryTotals]:
        """What is known of these complete deliveries, at most one of an entity, by entity."""

    async def set_totals_problem(self, problem: Mapping[str, Any] | None) -> None:
        """Note what is wrong with the control totals, or that nothing is; a problem of another kind stays."""

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

    async def sets_due(self, *, settle_s: float) -> list[SetKey]:
        """Sets whose newest complete deliveries are no version yet although nothing is being read; to be decided again."""

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

    async def mixed_currency_count(self) -> int:
        """Clients of the version with accounts in more than one currency; to be asked after ``relate``."""

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


class BatchesToSend(Protocol):
    """Batches of one tenant whose turn it is."""

    batches: list[Batch]

    async def mark_sent(self, batch: Batch, position: Position) -> None:
        """The batch is in Kafka, there; kept when the block ends without an error."""


class Work(Protocol):
    """Batches from plan to done."""

    async def record_counts(self, ready: RuleReady) -> dict[str, int]:
        """Stored records of the version by entity."""

    async def plan(self, ready: RuleReady, *, batch_count: int) -> None:
        """Insert the batches of a rule, unless they are planned already or the version was cancelled."""

    async def unsent(self, ready: RuleReady) -> list[Batch]:
        """Planned batches that were not sent."""

    async def mark_sent(self, batch: Batch, position: Position | None = None) -> None:
        """The batch is in Kafka, there."""

    def next_batches(self, tenant: str, *, at_once: int) -> AbstractAsyncContextManager[BatchesToSend]:
        """Batches to send now: those sent and not done stay ``at_once`` of the tenant; nobody else chooses meanwhile."""

    def open_batch(self, batch: Batch) -> AbstractAsyncContextManager[LockedBatch | None]:
        """The batch in a transaction; None when its version is cancelled or blocked."""

    async def unsent_outbound(self, opened: OpenBatch, batch: Batch, *, kind: str) -> list[tuple[UUID, UUID, bytes]]:
        """Message id, reference and payload of what the batch has not sent."""

    async def mark_outbound_sent(self, opened: OpenBatch, batch: Batch, *, kind: str, message_ids: Sequence[UUID]) -> None:
        """These messages are in Kafka."""

    async def mark_done(self, opened: OpenBatch, batch: Batch) -> None:
        """Nothing is left to do for the batch."""
