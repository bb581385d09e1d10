"""Records in quarantine and what is done about them, as stages and commands pass them around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, NamedTuple

from dataharvest.deliveries import ChunkPlace, JudgedDelivery, SetKey
from dataharvest.errors import Rejected
from dataharvest.rules.duplicates import FURTHER_POSITION
from dataharvest.rules.repairs import Place

State = Literal["open", "fixed", "accepted"]
Action = Literal["fix", "accept", "replay", "drop"]

TAIL = "misaligned_tail"
DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the quarantine: a record, a misaligned tail, or copies that are not kept one by one."""

    quarantine_id: int
    delivery_id: int
    tenant: str
    business_date: date
    entity: str
    object_key: str
    chunk_index: int
    position: int
    line: int
    byte_offset: int
    byte_length: int
    column: str | None
    rule: str
    message: str
    raw: bytes
    """The record without its line end, at most 64 KiB of it."""
    record_count: int = 1
    state: State = "open"
    natural_key: str | None = None
    """Of a fixed record that is a row now."""
    settled: str | None = None
    """Who fixed or accepted it, and when; None while it is open."""
    content: bytes | None = None
    """What it was last fixed to."""

    @property
    def set_key(self) -> SetKey:
        """The set that it belongs to."""
        return SetKey(self.tenant, self.business_date)

    @property
    def place(self) -> Place:
        """Where it stands in its file."""
        return Place(self.chunk_index, self.position)

    @property
    def is_whole(self) -> bool:
        """Whether ``raw`` is all of it."""
        return len(self.raw) == self.byte_length and not self.stands_for_many

    @property
    def stands_for_many(self) -> bool:
        """Whether it stands for copies that are not kept one by one."""
        return self.position == FURTHER_POSITION


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which entries; what is not said selects all."""

    tenant: str | None = None
    business_date: date | None = None
    entity: str | None = None
    rule: str | None = None
    ids: tuple[int, ...] | None = None
    delivery_id: int | None = None
    state: State | None = None
    with_superseded: bool = False
    """Also those of deliveries that a newer one has replaced."""


@dataclass(frozen=True, kw_only=True)
class EntryCount:
    """How much of one kind is in quarantine."""

    tenant: str
    business_date: date
    entity: str
    rule: str
    state: State
    entry_count: int
    record_count: int


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who does something, and why."""

    who: str
    why: str


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """What was done about one entry."""

    at: datetime
    quarantine_id: int
    delivery_id: int
    tenant: str
    business_date: date
    entity: str
    line: int
    rule: str
    action: Action
    who: str
    why: str
    persisted_count: int
    """Records that became rows."""
    duplicate_count: int
    """Records that were dropped, because another one with the same key counts."""
    accepted_count: int
    original: bytes
    content: bytes | None
    """What it was read as; None when it was not read."""
    contract_version: int | None
    superseded_by: int | None
    """The delivery that replaced the one that had been repaired."""


@dataclass(frozen=True, kw_only=True)
class Repairable:
    """A delivery whose records can be repaired now."""

    delivery: JudgedDelivery
    chunks: Sequence[ChunkPlace] = field(repr=False)
    """Its chunks in order, without a misaligned tail."""


@dataclass(frozen=True, kw_only=True)
class EntryChange:
    """What becomes of an open entry."""

    entry: Entry
    state: State
    persisted_count: int = 0
    duplicate_count: int = 0
    accepted_count: int = 0
    content: bytes | None = None
    natural_key: str | None = None
    """Of the row, where it is one."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What becomes of a delivery, all or nothing."""

    entries: Sequence[EntryChange]
    copy_columns: tuple[str, ...] = ()
    rows: Sequence[tuple[int, bytes]] = ()
    """Chunk, and row as COPY takes it."""
    replaced: Mapping[str, Place] = field(default_factory=dict)
    """Natural keys of rows that another record now stands for, and where those rows stood in the file."""
    action: Action
    contract_version: int | None = None


class Delta(NamedTuple):
    """What is added to the counts of a chunk."""

    persisted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    accepted: int = 0

    def plus(self, other: "Delta") -> "Delta":
        """Both together."""
        return Delta(*map(sum, zip(self, other, strict=True)))


def deltas_of(changes: Changes) -> dict[int, Delta]:
    """What is added to the counts of each chunk; records read change only where a tail turns out to be several records."""
    found: dict[int, Delta] = {}
    for one in changes.entries:
        delta = Delta(one.persisted_count, -one.entry.record_count, one.duplicate_count, one.accepted_count)
        found[one.entry.chunk_index] = found.get(one.entry.chunk_index, Delta()).plus(delta)
    for place in changes.replaced.values():
        found[place.chunk_index] = found.get(place.chunk_index, Delta()).plus(Delta(persisted=-1, duplicate=1))
    return found


def unknown_delivery(delivery_id: int) -> Rejected:
    """Why a delivery that nobody knows can't be repaired."""
    return Rejected(f"Delivery {delivery_id} is not known.", rule="not_repairable")


def not_repairable(delivery_id: int, entity: str, state: str, *, newer: tuple[int, str] | None) -> Rejected | None:
    """Why records of a delivery can't be repaired; None when they can.

    Args:
        delivery_id: the delivery.
        entity: its kind of file.
        state: its state.
        newer: a newer delivery of the same kind that counts or is being read, with its state.
    """
    if state == "superseded" or (newer and newer[1] == "complete"):
        by = f", delivery {newer[0]}," if newer else ""
        message = f"Delivery {delivery_id} of {entity} was replaced: a newer file{by} counts instead."
    elif state != "complete":
        message = f"Delivery {delivery_id} of {entity} is {state}: its records can be repaired once it is complete."
    elif newer:
        message = (
            f"A newer file of {entity}, delivery {newer[0]}, is being read ({newer[1]}) and will replace delivery {delivery_id}: "
            f"wait until it is complete."
        )
    else:
        return None
    return Rejected(message, rule="not_repairable")
