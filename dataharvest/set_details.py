"""Everything that the page of one set shows."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from dataharvest.delivery_status import DeliveryStatus, Report
from dataharvest.status import SetStatus


class StageState(StrEnum):
    """How far one stage of a set's journey is."""

    TODO = "todo"
    ACTIVE = "active"
    DONE = "done"
    BLOCKED = "blocked"


class Stage(Report):
    """One stage of a set's journey."""

    name: str
    state: StageState
    done: int
    total: int | None
    """None while that is not known."""
    unit: str
    """What is counted."""
    note: str = ""
    """What else should be known, for example how many records are in quarantine."""


class VersionStatus(Report):
    """One set version."""

    version: int
    state: str
    """open, blocked, published or cancelled."""
    created_at: datetime
    published_at: datetime | None
    failure: dict[str, Any] | None
    deliveries: dict[str, int]
    """Delivery id by entity."""
    facts: dict[str, datetime]
    """When each fact was recorded."""
    message_count: int
    """Outbound messages; a later version has only those that changed."""
    sent_count: int
    values: dict[str, int]
    """Values stored, by transformer."""


class QuarantinedRecord(Report):
    """A record in quarantine with what it looks like."""

    quarantine_id: int
    """What `dataharvest quarantine` calls it."""
    delivery_id: int
    entity: str
    file: str
    line: int
    byte_offset: int
    byte_length: int
    column: str | None
    rule: str
    message: str
    state: str
    """open, fixed or accepted."""
    record_count: int
    """More than 1 where one entry stands for many duplicates."""
    raw: str
    """Its beginning as text, with bytes that are none written as escapes."""


class DeadLetter(Report):
    """A message that could never succeed."""

    topic: str
    topic_partition: int
    topic_offset: int
    state: str
    """open, replayed or discarded."""
    delivery_id: int | None
    """Delivery that it was about, where it says so."""
    chunk_index: int | None
    stage: str
    rule: str
    reason: str
    failed_at: datetime


class Moment(Report):
    """Something that happened to a set."""

    at: datetime
    what: str
    detail: str = ""


class SetDetails(Report):
    """One set, with all that is stored about it."""

    at: datetime
    set: SetStatus
    stages: list[Stage]
    versions: list[VersionStatus]
    """The newest first."""
    quarantine: list[QuarantinedRecord]
    """The first of them, in order of file and line."""
    quarantine_count: int
    dead_letters: list[DeadLetter]
    """Messages of this set's deliveries that could not be taken; the newest first."""
    timeline: list[Moment]
    """The newest first."""


class Leftovers(Report):
    """What belongs to no set."""

    at: datetime
    files: list[DeliveryStatus]
    """Files whose object key names no date or entity; the newest first."""
    dead_letters: list[DeadLetter]
    """Open ones of all tenants; the newest first."""
    dead_letter_count: int
