"""Records in quarantine and what is done about them, as stages and commands pass them around."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from dataharvest.deliveries import SetKey
from dataharvest.rules.duplicates import FURTHER_POSITION
from dataharvest.rules.record_rules import RecordRule
from dataharvest.rules.repairs import Place

State = Literal["open", "fixed", "accepted"]
Action = Literal["fix", "accept", "replay", "drop"]

TAIL: RecordRule = "misaligned_tail"
DUPLICATE: RecordRule = "duplicate"


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
