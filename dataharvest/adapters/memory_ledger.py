"""The ledger kept in memory: what the fakes of its ports share; for tests, under the contract of the real one."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from dataharvest.deliveries import OpenBatch, Sealing, SetKey
from dataharvest.messages import ChunkMetadata
from dataharvest.objects import ObjectVersion
from dataharvest.rules.outbound_messages import OutboundRow
from dataharvest.rules.records import CheckedChunk


@dataclass
class StoredDelivery:
    """A delivery's row with its chunks."""

    delivery_id: int
    tenant: str
    business_date: date | None
    entity: str | None
    source: ObjectVersion
    state: str
    epoch: int = 0
    leased_until: float = 0.0
    next_try_at: float = 0.0
    sealing: Sealing | None = None
    failure: dict[str, Any] | None = None
    is_announced: bool = False
    chunks: dict[int, tuple[ChunkMetadata, CheckedChunk]] = field(default_factory=dict)

    @property
    def order(self) -> tuple[datetime, str, int]:
        """Newer deliveries come later."""
        return self.source.last_modified, self.source.key, self.delivery_id

    @property
    def persisted_count(self) -> int:
        """Rows stored."""
        return sum(checked.persisted_count for _, checked in self.chunks.values())

    @property
    def quarantined_count(self) -> int:
        """Records in quarantine."""
        return sum(len(checked.quarantined) for _, checked in self.chunks.values())


@dataclass
class StoredBatch:
    """A batch's row: which steps are behind it."""

    index: int
    count: int
    is_sent: bool = False
    is_computed: bool = False
    is_done: bool = False


@dataclass
class StoredVersion:
    """A set version's row with everything that hangs on it."""

    set_version_id: int
    version: int
    deliveries: dict[str, int]
    state: str = "open"
    facts: set[str] = field(default_factory=set)
    failure: dict[str, Any] | None = None
    readiness: dict[str, bool] = field(default_factory=dict)
    """Announced rules; whether the readiness was sent."""
    batches: dict[str, list[StoredBatch]] = field(default_factory=dict)
    links: list[dict[str, str | None]] = field(default_factory=list)
    values: dict[tuple[str, int], list[dict[str, str]]] = field(default_factory=dict)
    """By transformer and batch: ``reference`` and ``fields`` as JSON."""
    outbound: dict[tuple[str, int], dict[OutboundRow, bool]] = field(default_factory=dict)
    """By kind and batch: messages; whether each was sent."""


@dataclass
class MemoryLedger:
    """All rows; empty at first."""

    deliveries: dict[int, StoredDelivery] = field(default_factory=dict)
    versions: dict[SetKey, list[StoredVersion]] = field(default_factory=dict)
    locks: dict[SetKey, asyncio.Lock] = field(default_factory=dict)
    wake_ups: set[asyncio.Event] = field(default_factory=set)

    def of_set(self, key: SetKey) -> Iterator[StoredDelivery]:
        """Deliveries of a set, by id."""
        return (one for one in self.deliveries.values() if (one.tenant, one.business_date) == key)

    def version(self, key: SetKey, number: int) -> StoredVersion | None:
        """A version of a set."""
        return next((one for one in self.versions.get(key, []) if one.version == number), None)

    def version_of(self, opened: OpenBatch) -> StoredVersion:
        """The version that an opened batch belongs to."""
        return next(one for found in self.versions.values() for one in found if one.set_version_id == opened.set_version_id)
