"""What `dataharvest status` reports; the JSON form of these models is a contract that only grows."""

from datetime import date, datetime
from typing import Any

from pydantic import Field

from dataharvest.delivery_status import Counts, DeliveryStatus, DuplicateKey, Quarantined, Report
from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import State

__all__ = [
    "LEFTOVER_DAYS",
    "Counts",
    "DeadLetters",
    "DeliveryStatus",
    "DuplicateKey",
    "ManifestStatus",
    "Orphans",
    "Quarantined",
    "Report",
    "RuleStatus",
    "SetStatus",
    "StatusReport",
    "Why",
]


LEFTOVER_DAYS = 7
"""So long a file that belongs to no set is shown among what needs somebody; nothing ever becomes of it."""


class Why(Report):
    """What keeps a set, and what to do about it."""

    sentence: str
    """Names the file, chunk, record or transformer that is in the way."""
    remedy: str
    """What to do next; that nothing has to be done is said too."""
    command: str
    """The command that does it, or that shows how it goes on; words in capitals stand for what only you know."""
    placeholders: dict[str, str] = {}
    """What each of these words stands for."""


class RuleStatus(Report):
    """How far one rule of the newest set version is."""

    rule: str
    done: int
    """Batches done."""
    batch_count: int
    dead_letter_count: int = 0
    """Batches that are not done because their message was dead-lettered; nothing sends it again by itself."""
    dead_letter_rule: str | None = None
    """Rule that the first of these messages broke."""
    dead_letter_is_discarded: bool = False
    """Whether somebody has discarded all of them: only a replay by name sends them again."""
    dead_letter_names: list[str] = []
    """What `dataharvest dead-letters` calls the first of them; discarded ones only where all are."""


class Orphans(Report):
    """Records of the newest set version without a counterpart."""

    kind: str
    count: int
    sample: list[str]
    """References of the first of them."""


class ManifestStatus(Report):
    """A file with the sender's control totals."""

    manifest_id: int
    file: str
    """Object key."""
    state: str
    """read or rejected; the newest that was read counts."""
    failure: dict[str, Any] | None
    """Why it is rejected: ``rule``, ``message``, and ``problems`` with a sentence for each mistake."""
    registered_at: datetime


class SetStatus(Report):
    """One tenant's files for one date."""

    tenant: str
    business_date: date
    state: State
    """incomplete, loading, blocked, ready, transforming, publishing, disputed or published."""
    version: int | None
    """Newest set version; None before the first."""
    published_at: datetime | None
    """When the newest version was published."""
    waits_for: list[str]
    """What has to come or to be done; empty when published."""
    reason: str
    """Why it is not further, one sentence."""
    counts: Counts
    """Sums over the newest complete delivery of each entity."""
    warnings: list[str]
    """What does not stop the set but should be known."""
    orphans: list[Orphans]
    rules: list[RuleStatus]
    deliveries: list[DeliveryStatus]
    """Every delivery of the set, in order of entity and arrival."""
    problem: dict[str, Any] | None = None
    """What keeps the whole set: ``rule``, ``state`` (waits, blocked or disputed), ``message`` and ``differences``."""
    late_at: datetime | None = None
    """The cut-off by which it had no version; None when it was in time or is not due."""
    manifests: list[ManifestStatus] = []
    """Every manifest of the set, the newest last."""
    cause: Cause = Cause.NOTHING
    """What it waits for, in one word."""
    why: Why | None = None
    """What is in the way and what to do about it; always there in a report."""
    missing_files: dict[str, str] = {}
    """Required entities of which nothing usable has arrived, each with an object key that would do."""
    pause_reason: str | None = None
    """Why the tenant is paused, possibly empty; None when it is not."""
    stored_chunk_count: int = 0
    """Chunks stored of the newest delivery of each entity."""
    chunk_count: int | None = None
    """Chunks of those deliveries in all; None while one of them was not read to its end."""
    eta_at: datetime | None = None
    """When the step in hand (storing, computing or publishing) is done by its speed so far; None when that can't be said."""
    due_at: datetime | None = None
    """The cut-off of this business date; None when the contract names none."""
    zone: str = "UTC"
    """The tenant's time zone, from the cut-off of its contract."""


class DeadLetters(Report):
    """Messages that could never succeed, by stage and rule; their bytes are in the topic ``dead-letters``."""

    stage: str
    rule: str
    count: int
    last_at: datetime


class UnreadableContract(Report):
    """A contract in use that this version of the program can't read; what arrives for the tenant waits until it is replaced."""

    tenant: str
    version: int
    message: str


class StatusReport(Report):
    """Where everything stands."""

    at: datetime
    """Moment of the report, by the database's clock."""
    sets: list[SetStatus]
    deliveries_without_set: list[DeliveryStatus]
    """Rejected deliveries whose object key names no date or entity."""
    dead_letter_count: int = Field(ge=0)
    """Of all tenants."""
    dead_letters: list[DeadLetters]
    worker_count: int | None = None
    """Workers connected to the database; None when it does not tell."""
    unreadable_contracts: list[UnreadableContract] = []
    """Of the tenants asked for."""
    silent_services: list[str] | None = None
    """Kafka and the object store, each with its address, when it does not answer the one who asks; None where nobody asked."""
    set_count: int | None = None
    """Sets that match, also those beyond a limit; None where there was no limit."""
    unpublished_count: int | None = None
    """Those of them that are not published."""
    without_set_count: int | None = None
    """Files that belong to no set, also old ones and those beyond a limit; None where there was no limit."""

    @property
    def deliveries(self) -> list[DeliveryStatus]:
        """Every delivery of the report."""
        return [*(one for item in self.sets for one in item.deliveries), *self.deliveries_without_set]
