"""What `dataharvest status` reports; the JSON form of these models is a contract that only grows."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dataharvest.rules.standing import State


class Report(BaseModel):
    """Part of a status report."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Counts(Report):
    """Records: ``read = persisted + quarantined + duplicate + accepted``, always."""

    read: int = 0
    """Records in the chunks stored so far."""
    persisted: int = 0
    """Records kept as rows."""
    quarantined: int = 0
    """Records that broke a rule."""
    duplicate: int = 0
    """Records dropped because another one with the same key counts."""
    accepted: int = 0
    """Records left out on purpose by a named person."""

    def __add__(self, other: "Counts") -> "Counts":
        """The sums."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class Quarantined(Report):
    """A record in quarantine, without its bytes: `dataharvest quarantine show` has those."""

    line: int
    """Physical line on which the record starts, from 1."""
    byte_offset: int
    """Of its first byte in the decompressed content."""
    column: str | None
    """Column to blame, where there is one."""
    rule: str
    message: str
    quarantine_id: int | None = None
    """What `dataharvest quarantine` calls it."""


class DuplicateKey(Report):
    """Records of one delivery with the same natural key."""

    natural_key: str
    record_count: int
    lines: list[int]
    """Physical lines of the first of them; empty when the source was removed before they were looked up."""


class DeliveryStatus(Report):
    """One upload of one file."""

    delivery_id: int
    tenant: str
    """Empty when the object key names none."""
    business_date: date | None
    """None when the object key names none."""
    entity: str | None
    """None when the object key names none."""
    file: str
    """Object key."""
    state: str
    """registered, waiting, splitting, sealed, judging, complete, repeat, rejected, abandoned or superseded."""
    counts: Counts
    """Zero for a repeat and for what was rejected: their rows are removed."""
    stored_chunk_count: int
    chunk_count: int | None
    """None until the file was read to its end."""
    open_quarantine: int
    """Records in quarantine that nobody has repaired or accepted."""
    quarantined: list[Quarantined]
    """The first of them."""
    duplicates: list[DuplicateKey] = []
    """The first hundred natural keys that occur more than once, whatever the contract says of them."""
    ignored_columns: list[str]
    """Columns of the header that the entity does not know."""
    contract_version: int = 0
    """Version of the tenant's contract under which it is read, fixed at its registration; 0 are the defaults."""
    repeat_of: int | None
    """Delivery with the same content, for a repeat."""
    failure: dict[str, Any] | None
    """Why it is rejected or waiting: ``rule``, ``message``, and where known ``line``, ``column`` and more."""
    registered_at: datetime
    completed_at: datetime | None


class RuleStatus(Report):
    """How far one rule of the newest set version is."""

    rule: str
    done: int
    """Batches done."""
    batch_count: int


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
    unreadable_contracts: list[UnreadableContract] = []
    """Of the tenants asked for."""

    @property
    def deliveries(self) -> list[DeliveryStatus]:
        """Every delivery of the report."""
        return [*(one for item in self.sets for one in item.deliveries), *self.deliveries_without_set]
