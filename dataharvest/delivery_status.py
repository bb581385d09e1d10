"""What a status report says of one delivery."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


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
    first_missing_chunk: int | None = None
    """Lowest index of a chunk that is not stored, while the delivery is read or stored; None afterwards."""
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
    contract_trouble: str | None = None
    """Why that contract can't be read any more, while the delivery waits for it to be replaced."""
    dead_letter_count: int = 0
    """Messages of this delivery that were dead-lettered and that it still lacks."""
    dead_letter_index: int | None = None
    """Lowest chunk among them, of those that can be replayed if any can; None for its judgement."""
    dead_letter_rule: str | None = None
    """Rule that the first of them broke."""
    dead_letter_is_discarded: bool = False
    """Whether somebody has discarded all of them: only a corrected file, or a replay by name, can take their place."""
    dead_letter_names: list[str] = []
    """What `dataharvest dead-letters` calls the first of them; discarded ones only where all are."""
    size_bytes: int = 0
    """Of the object as it lies in the bucket."""
    registered_at: datetime
    next_try_at: datetime | None = None
    """When a waiting delivery is tried again."""
    completed_at: datetime | None
