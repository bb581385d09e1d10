"""The ledger kept in memory: what the fakes of its ports share; for tests, under the contract of the real one."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from dataharvest import tracing
from dataharvest.deliveries import OpenBatch, Sealing, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import ChunkMetadata
from dataharvest.objects import ObjectVersion
from dataharvest.ports import Position
from dataharvest.quarantine import HistoryLine, Signature, State
from dataharvest.rules.carrying import NOTHING, Carried
from dataharvest.rules.duplicates import Copy
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.notifying import Note
from dataharvest.rules.outbound_messages import OutboundRow
from dataharvest.rules.records import CheckedChunk, QuarantinedRecord
from dataharvest.tenants import ChunkKey


@dataclass
class StoredEntry:
    """A quarantined record that was fixed or accepted."""

    record: QuarantinedRecord
    state: State
    natural_key: str | None


@dataclass
class StoredDelivery:
    """A delivery's row with its chunks."""

    delivery_id: int
    tenant: str
    business_date: date | None
    entity: str | None
    source: ObjectVersion
    state: str
    contract_version: int = 0
    registered_at: float = 0.0
    """By the ledger's clock."""
    traceparent: str | None = None
    owner: str = ""
    epoch: int = 0
    crash_count: int = 0
    chunks_at_lease: int = 0
    sent_offsets: dict[int, int] = field(default_factory=dict)
    leased_until: float = 0.0
    next_try_at: float = 0.0
    sealing: Sealing | None = None
    sealed_at: float | None = None
    """By the ledger's clock."""
    repeat_of: int | None = None
    judgement_is_sent: bool = False
    counted_rows: int = 0
    """Rows that were counted in slices of its judgement so far."""
    are_copies_decided: bool = False
    copies: dict[int, list[Copy]] = field(default_factory=dict)
    """Those that its judgement has read again so far, by chunk."""
    is_removed: bool = False
    """Its rows are gone."""
    duplicates: dict[int, int] = field(default_factory=dict)
    """Records dropped as duplicates, by chunk."""
    accepted: dict[int, int] = field(default_factory=dict)
    """Records left out on purpose, by chunk."""
    settled: dict[tuple[int, int], StoredEntry] = field(default_factory=dict)
    """What was fixed or accepted, by chunk and position."""
    duplicate_lines: dict[str, list[int]] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    failure: dict[str, Any] | None = None
    is_announced: bool = False
    chunks: dict[int, tuple[ChunkMetadata, CheckedChunk]] = field(default_factory=dict)
    written_from: dict[int, Position] = field(default_factory=dict)
    """The message that each chunk was stored from, of chunks that were removed too."""

    @property
    def order(self) -> tuple[datetime, str, int]:
        """Newer deliveries come later."""
        return self.source.last_modified, self.source.key, self.delivery_id

    @property
    def positions(self) -> dict[int, Position]:
        """The message that each chunk in the ledger was stored from."""
        return {index: self.written_from[index] for index in sorted(self.chunks)}

    @property
    def persisted_count(self) -> int:
        """Rows stored."""
        return sum(checked.persisted_count for _, checked in self.chunks.values())

    @property
    def quarantined_count(self) -> int:
        """Records in quarantine."""
        return sum(one.record_count for _, checked in self.chunks.values() for one in checked.quarantined)

    @property
    def is_broken(self) -> bool:
        """Whether it does not add up."""
        return (self.failure or {}).get("rule") == "conservation"

    @property
    def has_unneeded_rows(self) -> bool:
        """Whether its rows are to be removed once no version needs them."""
        return self.state == "superseded" and not self.is_removed and self.sealing is not None

    @property
    def never_counts(self) -> bool:
        """Whether only the same file again can repair it: it does not add up, or its lost chunks can't be read again."""
        is_lost = self.state == "sealed" and (self.failure or {}).get("rule") in ("object_404", "object_412")
        return self.is_broken or is_lost


@dataclass
class StoredBatch:
    """A batch's row: which steps are behind it."""

    index: int
    count: int
    is_sent: bool = False
    is_computed: bool = False
    is_done: bool = False
    position: Position | None = None
    carried: Carried = NOTHING
    made_by: str | None = None


@dataclass
class StoredVersion:
    """A set version's row with everything that hangs on it."""

    set_version_id: int
    version: int
    deliveries: dict[str, int]
    state: str = "open"
    created_at: float = 0.0
    """By the ledger's clock."""
    traceparent: str | None = None
    facts: set[str] = field(default_factory=set)
    failure: dict[str, Any] | None = None
    readiness: dict[str, bool] = field(default_factory=dict)
    """Announced rules; whether the readiness was sent."""
    batches: dict[str, list[StoredBatch]] = field(default_factory=dict)
    links: list[dict[str, str | None]] = field(default_factory=list)
    orphans: Counter[str] = field(default_factory=Counter)
    """Number by kind, of all slices related so far."""
    values: dict[tuple[str, int], list[dict[str, str]]] = field(default_factory=dict)
    """By transformer and batch: ``reference`` and ``fields`` as JSON."""
    logic_versions: dict[str, set[int]] = field(default_factory=dict)
    """Of the logic that stored values come from, by transformer."""
    outbound: dict[tuple[str, int], list[OutboundRow]] = field(default_factory=dict)
    """Messages by kind and batch; they were sent when their batch is done."""
    edition: int = 0
    """The set's edition when the version was made."""
    base_version_id: int | None = None


@dataclass
class StoredManifest:
    """A manifest's row: what was read, or why it can't be used."""

    key: SetKey
    source: ObjectVersion
    outcome: Manifest | Rejected
    is_announced: bool = False
    is_decided: bool = False


class StoredRecompute(NamedTuple):
    """Who had a set computed again, by which logic, and why."""

    key: SetKey
    transformer: str
    logic_version: int
    edition: int
    by: Signature
    at: datetime


@dataclass
class StoredNotification:
    """A notification's row."""

    key: SetKey | tuple[str, None]
    note: Note
    created_at: datetime
    traceparent: str | None = None
    is_sent: bool = False


@dataclass
class MemoryLedger:
    """All rows; empty at first."""

    deliveries: dict[int, StoredDelivery] = field(default_factory=dict)
    versions: dict[SetKey, list[StoredVersion]] = field(default_factory=dict)
    manifests: list[StoredManifest] = field(default_factory=list)
    """In order of arrival."""
    problems: dict[SetKey, dict[str, Any]] = field(default_factory=dict)
    quarantine_ids: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Number of each entry by delivery, chunk and position, once it was looked at."""
    repairs: list[HistoryLine] = field(default_factory=list)
    editions: dict[SetKey, int] = field(default_factory=dict)
    """Of sets that changed without a new delivery."""
    recomputes: list[StoredRecompute] = field(default_factory=list)
    locks: dict[SetKey, asyncio.Lock] = field(default_factory=dict)
    wake_ups: set[asyncio.Event] = field(default_factory=set)
    paused: dict[str, str] = field(default_factory=dict)
    """Reason by tenant."""
    late: dict[SetKey, datetime] = field(default_factory=dict)
    """Sets that were not complete when they were due, and when that was."""

    notifications: dict[UUID, StoredNotification] = field(default_factory=dict)
    """In the order in which they were left."""
    dead_chunks: dict[ChunkKey, bytes] = field(default_factory=dict)
    """Chunks that were dead-lettered, with their SHA-256."""
    dead_judgements: set[int] = field(default_factory=set)
    """Deliveries whose judgement was dead-lettered."""
    dead_work: set[Position] = field(default_factory=set)
    """Messages of ``work`` that were dead-lettered and not replayed."""

    clock: Callable[[], float] = time.monotonic

    def notify(self, key: SetKey | tuple[str, None], note: Note) -> None:
        """Leave a notification to be sent, unless there is one with its id."""
        stored = StoredNotification(key, note, datetime.now(UTC), tracing.traceparent())
        self.notifications.setdefault(note.notification_id, stored)

    def all_versions(self) -> Iterator[StoredVersion]:
        """Versions of all sets."""
        return (one for found in self.versions.values() for one in found)

    def set_keys(self) -> set[SetKey]:
        """Every set that has a delivery."""
        return {SetKey(one.tenant, one.business_date) for one in self.deliveries.values() if one.business_date}

    def of_set(self, key: SetKey) -> Iterator[StoredDelivery]:
        """Deliveries of a set, by id."""
        return (one for one in self.deliveries.values() if (one.tenant, one.business_date) == key)

    def is_overtaken(self, row: StoredDelivery) -> bool:
        """Whether a newer delivery of the same tenant, date and entity is complete."""
        place = (row.tenant, row.business_date, row.entity)
        complete = [one for one in self.deliveries.values() if one.state == "complete"]
        return any((one.tenant, one.business_date, one.entity) == place and one.order > row.order for one in complete)

    def version(self, key: SetKey, number: int) -> StoredVersion | None:
        """A version of a set."""
        return next((one for one in self.versions.get(key, []) if one.version == number), None)

    def base_of(self, version: StoredVersion) -> StoredVersion | None:
        """The version that something may be taken over from."""
        return next((one for one in self.all_versions() if one.set_version_id == version.base_version_id), None)

    def version_of(self, opened: OpenBatch) -> StoredVersion:
        """The version that an opened batch belongs to."""
        return next(one for found in self.versions.values() for one in found if one.set_version_id == opened.set_version_id)
