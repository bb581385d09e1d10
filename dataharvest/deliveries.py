"""A delivery and its life, as the stages pass it around."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import NamedTuple

from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion

SPLITTER_VERSION = 1
"""Raised when the same bytes would be cut into other chunks."""


LEASES_PER_TENANT = 4
"""Deliveries of one tenant that are read side by side, at most: the files of a set."""


READERS_LOST = 3
"""Splitters that may die over a delivery in a row, without a chunk more in the ledger; then it is taken for the cause."""


class SetKey(NamedTuple):
    """What names a set."""

    tenant: str
    business_date: date


def set_is_publishing(key: SetKey, version: int) -> Rejected:
    """Why nothing of a set may change now."""
    message = f"Version {version} of {key.tenant}'s set of {key.business_date} is being published: try again once it is out."
    return Rejected(message, rule="set_is_publishing", version=version)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to split one delivery; its epoch is fenced: a splitter that lost it can't seal."""

    delivery_id: int
    epoch: int
    tenant: str
    business_date: date
    entity: str
    source: ObjectVersion
    chunk_bytes: int
    splitter_version: int
    contract_version: int = 0
    """The tenant's contract at registration; 0 are the defaults."""
    traceparent: str | None = None
    """Span of its latest step, while traces are switched on."""
    crash_count: int = 0
    """Splitters that have died over it in a row, without a chunk more in the ledger."""
    chunks_at_lease: int = 0
    """Chunks in the ledger when it was leased."""

    @property
    def is_suspect(self) -> bool:
        """Whether the death of one more reader would condemn it."""
        return self.crash_count == READERS_LOST - 1


@dataclass(frozen=True, kw_only=True)
class Sealing:
    """What is known once a delivery was read to its end."""

    content_sha256: bytes
    content_start: int
    """Where the first record begins, in bytes of the decompressed content."""
    content_end: int
    chunk_count: int
    ignored_columns: tuple[str, ...]
    object_sha256: bytes | None = None
    """Of the object's own bytes, as they lie in the bucket."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """A delivery's end or sealing that the set has to be told of."""

    delivery_id: int
    tenant: str
    business_date: date
    entity: str
    state: str
    chunk_count: int | None
    traceparent: str | None = None
    """Span of its latest step, while traces are switched on."""


@dataclass(frozen=True, kw_only=True)
class JudgedDelivery:
    """A delivery that is being judged."""

    delivery_id: int
    tenant: str
    business_date: date
    entity: str
    source: ObjectVersion
    contract_version: int


@dataclass(frozen=True)
class ChunkPlace:
    """Where a stored chunk lies in the content."""

    index: int
    byte_offset: int
    byte_length: int
    first_line: int
    sha256: bytes


class ChunkOutcome(Enum):
    """What became of a chunk."""

    STORED = "stored"
    SEEN = "seen"
    """The same chunk is in the ledger already; nothing changed."""
    NOT_ACCEPTED = "not accepted"
    """The delivery has ended; nothing was stored."""
    CONFLICT = "conflict"
    """The ledger has other bytes under this index; the delivery was stopped."""


_NO_DELIVERY = 0


class OpenBatch(NamedTuple):
    """A batch that is being worked on, with its version locked."""

    set_version_id: int
    computed: bool
    deliveries: Mapping[str, int]
    contract_version: int = 0
    """Newest contract under which one of the deliveries was registered."""
    all_linked: bool = False
    """Whether the version's records were related and none lacks its counterpart."""
    base_version_id: int | None = None
    """The version that something may be taken over from."""
    carried: frozenset[str] = frozenset()
    """What the rule's batches take over from it: ``links``, ``orphans``, ``values``, ``messages``."""
    references: tuple[str, ...] | None = None
    """The clients or portfolios that the batch is about; None for all of its slice."""

    def delivery_of(self, entity: str) -> int:
        """The version's delivery of an entity; one that does not exist and has no rows where the contract does without it."""
        return self.deliveries.get(entity, _NO_DELIVERY)
