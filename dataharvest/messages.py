"""What travels on the internal topics: past-tense facts and the chunks themselves, with their encoding."""

from datetime import date
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import zstandard
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from dataharvest.errors import Rejected
from dataharvest.message_fields import Base64, Identity, Index, Name, Number, Place, Tenant


class _Encoded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Tenant

    def encode(self) -> bytes:
        """The message as JSON; ``decode`` gives back an equal message."""
        return self.model_dump_json().encode()


class Message(_Encoded):
    """A message about one set; its key keeps what belongs to a set in order."""

    business_date: date

    @property
    def key(self) -> bytes:
        """Key of the set, ``tenant|date``."""
        return f"{self.tenant}|{self.business_date.isoformat()}".encode()


class DeliverySealed(Message):
    """All chunks of a delivery are sent and their number is known."""

    type: Literal["delivery_sealed"] = "delivery_sealed"
    delivery_id: Identity
    entity: Name
    chunk_count: Index


class ChunkPersisted(Message):
    """A chunk's rows, its quarantined records and its ledger row are committed."""

    type: Literal["chunk_persisted"] = "chunk_persisted"
    delivery_id: Identity
    entity: Name
    index: Index


class DeliveryRemoved(Message):
    """A delivery ended as a repeat, rejected or abandoned; the set may be waiting for this."""

    type: Literal["delivery_removed"] = "delivery_removed"
    delivery_id: Identity
    entity: Name
    state: Name


class DeliveryJudged(Message):
    """A delivery's sums and duplicates are counted; it counts from now on, or is superseded."""

    type: Literal["delivery_judged"] = "delivery_judged"
    delivery_id: Identity
    entity: Name


class ManifestRead(Message):
    """The set's control totals are another; what they mean for it has to be decided again."""

    type: Literal["manifest_read"] = "manifest_read"
    manifest_id: Identity


class EditionRaised(Message):
    """The set's records, or the way its values are computed, changed without a new delivery; a version may be due."""

    type: Literal["edition_raised"] = "edition_raised"
    edition: Number


class BatchDone(Message):
    """A batch of a rule is computed or published."""

    type: Literal["batch_done"] = "batch_done"
    version: Number
    rule: Name
    batch: Index
    batch_count: Number


class RuleReady(Message):
    """Every fact that a transformer or outbound message needs holds for a set version."""

    type: Literal["rule_ready"] = "rule_ready"
    version: Number
    rule: Name


class Batch(Message):
    """A slice of a set version that one rule has to work on."""

    type: Literal["batch"] = "batch"
    version: Number
    rule: Name
    batch: Index
    batch_count: Number

    @property
    def key(self) -> bytes:
        """Key of the batch: batches of one set, of different rules too, spread over the partitions."""
        return f"{self.tenant}|{self.business_date.isoformat()}|{self.version}|{self.rule}|{self.batch}".encode()


class Judgement(Message):
    """A sealed delivery of which every chunk is stored; its sums and duplicates have to be counted."""

    type: Literal["judge"] = "judge"
    delivery_id: Identity
    entity: Name

    @property
    def key(self) -> bytes:
        """Key of the judgement: deliveries of one set spread over the partitions."""
        return f"{self.tenant}|{self.business_date.isoformat()}|judge|{self.entity}|{self.delivery_id}".encode()


class Notification(_Encoded):
    """Something happened to a set, or to a file that belongs to none, that the tenant may want to know."""

    type: Literal["set_ready", "set_blocked", "set_late", "file_rejected"]
    business_date: date | None
    """None for a file whose name says no date."""
    notification_id: UUID
    version: Number | None
    reason: str
    at: AwareDatetime

    @property
    def key(self) -> bytes:
        """Key of the set, ``tenant|date``; without a set ``tenant|``."""
        return f"{self.tenant}|{self.business_date or ''}".encode()


class ChunkMetadata(Message):
    """Where a chunk comes from and how its records are read."""

    type: Literal["chunk"] = "chunk"
    delivery_id: Identity
    entity: Name
    index: Index
    byte_offset: Place
    byte_length: Place
    first_line: Place
    sha256: str
    columns: tuple[str | None, ...]
    header: Base64
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal_mark: Literal[".", ","] = "."
    misaligned_tail: bool = False

    @property
    def key(self) -> bytes:
        """Key of the chunk, ``delivery:index``: chunks of one delivery spread over the partitions."""
        return f"{self.delivery_id}:{self.index}".encode()


Progress = DeliverySealed | ChunkPersisted | DeliveryRemoved | DeliveryJudged | BatchDone | ManifestRead | EditionRaised
Work = Batch | Judgement
_progress: TypeAdapter[Progress] = TypeAdapter(Annotated[Progress, Field(discriminator="type")])
_rule_ready: TypeAdapter[RuleReady] = TypeAdapter(RuleReady)
_batch: TypeAdapter[Batch] = TypeAdapter(Batch)
_work: TypeAdapter[Work] = TypeAdapter(Annotated[Work, Field(discriminator="type")])
_notification: TypeAdapter[Notification] = TypeAdapter(Notification)
_chunk: TypeAdapter[ChunkMetadata] = TypeAdapter(ChunkMetadata)


T = TypeVar("T")


def _decode(adapter: TypeAdapter[T], value: bytes) -> T:
    try:
        return adapter.validate_json(value)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors(include_input=False))
        raise Rejected(f"message does not have the shape of its topic: {problems}", rule="unreadable_message") from error


def _problem(item: ErrorDetails) -> str:
    # The input stays out of the reason, for it may hold personal data: no value, no name of a field that we don't know.
    place = "unknown field" if item["type"] == "extra_forbidden" else ".".join(map(str, item["loc"])) or "message"
    return f"{place} ({item['type']})"


def decode_progress(value: bytes) -> Progress:
    """The fact in a ``progress`` message; Rejected when it has another shape."""
    return _decode(_progress, value)


def decode_rule_ready(value: bytes) -> RuleReady:
    """The readiness in a ``readiness`` message; Rejected when it has another shape."""
    return _decode(_rule_ready, value)


def decode_batch(value: bytes) -> Batch:
    """The batch in a ``work`` message; Rejected when it has another shape."""
    return _decode(_batch, value)


def decode_work(value: bytes) -> Work:
    """The batch or judgement in a ``work`` message; Rejected when it has another shape."""
    return _decode(_work, value)


def decode_notification(value: bytes) -> Notification:
    """The notification in a ``notifications`` message; Rejected when it has another shape."""
    return _decode(_notification, value)


def encode_chunk(metadata: ChunkMetadata, data: bytes) -> bytes:
    """A line of JSON metadata, then the chunk's bytes compressed with zstd level 1."""
    return metadata.encode() + b"\n" + zstandard.compress(data, 1)


def decode_chunk_metadata(value: bytes) -> ChunkMetadata:
    """The metadata of a chunk, its bytes left as they are; Rejected when it can't be read."""
    return _decode(_chunk, value.partition(b"\n")[0])


def decode_chunk(value: bytes, *, max_bytes: int = 1 << 23) -> tuple[ChunkMetadata, bytes]:
    """Metadata and bytes of a chunk; Rejected when the value can't be read or is longer than ``max_bytes``."""
    line, found, payload = value.partition(b"\n")
    if not found:
        raise Rejected("chunk has no metadata line", rule="unreadable_message")
    metadata = _decode(_chunk, line)
    try:
        # A frame that states its size is unpacked to that size, whatever `max_output_size` says.
        stated_bytes = zstandard.frame_content_size(payload)
        if stated_bytes > max_bytes:
            raise Rejected(f"chunk unpacks to {stated_bytes} bytes, more than {max_bytes}", rule="unreadable_message")
        data = zstandard.ZstdDecompressor().decompress(payload, max_output_size=max_bytes)
    except zstandard.ZstdError as error:
        raise Rejected(f"chunk can't be decompressed: {error}", rule="unreadable_message") from error
    return metadata, data
