"""Where an outbound message comes from: what `dataharvest lineage` answers; its JSON form is a contract that only grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from dataharvest.deliveries import ChunkPlace, JudgedDelivery


class Report(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SourceRecord(Report):
    """A record that the message was made from."""

    natural_key: str
    line: int | None
    """Physical line in the file's decompressed content on which it starts, from 1; None where `note` says why."""
    byte_offset: int | None
    """Of its first byte in that content."""


class SourceFile(Report):
    """A file that the message was made from."""

    entity: str
    delivery_id: int
    file: str
    """Object key."""
    version_id: str | None
    """Version of the object; None on a bucket without versions."""
    etag: str
    last_modified: datetime
    content_sha256: str | None
    """Of the decompressed content, as UTF-8."""
    contract_version: int
    record_count: int
    """Records of the file that the message was made from; `records` has the first of them."""
    records: list[SourceRecord]
    note: str | None
    """Why lines are missing."""


class Lineage(Report):
    """An outbound message and where it comes from."""

    message_id: UUID
    topic: str
    key: str
    tenant: str
    business_date: date
    version: int
    """Set version that produced it."""
    supersedes: UUID | None
    withdrawn: bool
    sent_at: datetime | None
    value: dict[str, Any]
    """The message as it was sent."""
    files: list[SourceFile]


class OutboundRecord(NamedTuple):
    """A message as it is stored."""

    message_id: UUID
    set_version_id: int
    tenant: str
    business_date: date
    kind: str
    reference: UUID
    version: int
    supersedes: UUID | None
    withdrawn: bool
    payload: str
    sent_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class SourceDelivery:
    """A delivery of the message's set version."""

    subject: JudgedDelivery
    content_sha256: bytes | None
    is_removed: bool
    """Its rows are gone."""


class FoundKey(NamedTuple):
    """A row that the message was made from."""

    natural_key: str
    chunks: tuple[int, ...]
    """Where it may be; empty when nothing is known of that."""


class Origins(Protocol):
    """What the database knows of where messages come from."""

    async def message(self, message_id: UUID) -> OutboundRecord | None:
        """A message; None when there is none with this id."""

    async def deliveries(self, message: OutboundRecord) -> Sequence[SourceDelivery]:
        """The deliveries of its set version, in order of entity."""

    async def keys(self, message: OutboundRecord, delivery: SourceDelivery, *, limit: int) -> tuple[int, list[FoundKey]]:
        """How many rows of the delivery the message was made from, and the first of them."""

    async def chunks(self, delivery: SourceDelivery) -> Sequence[ChunkPlace]:
        """Every chunk of the delivery, in order."""
