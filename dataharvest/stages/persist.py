"""Persist: a chunk's rows, its quarantined records and its ledger row, all or nothing."""

import logging
from hashlib import sha256

from dataharvest import metrics
from dataharvest.deliveries import ChunkOutcome
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.failpoints import failpoint
from dataharvest.messages import ChunkMetadata, ChunkPersisted, decode_chunk, decode_chunk_metadata
from dataharvest.ports import Chunks, Deliveries, Position, Sender
from dataharvest.rules.records import CheckedChunk, check_in_steps
from dataharvest.rules.steps import Steps, at_once
from dataharvest.stages.aside import with_breaks
from dataharvest.stages.slots import Slots

logger = logging.getLogger(__name__)


async def persist_in_turn(
    value: bytes, position: Position, *, slots: Slots, chunks: Chunks, deliveries: Deliveries, sender: Sender
) -> None:
    """Store a chunk once its tenant has a slot. Raises as ``persist`` does."""
    # Who it belongs to is in its first line; the rest is unpacked when it has its turn.
    async with slots.slot(decode_chunk_metadata(value).tenant):
        await persist(value, position, chunks=chunks, deliveries=deliveries, sender=sender)


async def persist(value: bytes, position: Position, *, chunks: Chunks, deliveries: Deliveries, sender: Sender) -> None:
    """Store a chunk and tell its set; a chunk seen before only tells again.

    Raises:
        Rejected: the message can't be read or its bytes are damaged.
        Unavailable: PostgreSQL or Kafka is not there.
    """
    failpoint("persist.received")
    metadata, data = decode_chunk(value)
    _require_undamaged(metadata, data)
    checked = await with_breaks(_check_records(metadata, data))
    outcome = await chunks.persist(metadata, checked, position=position)
    failpoint("persist.committed")
    if outcome is ChunkOutcome.STORED:
        _count(metadata, checked)
    if outcome is ChunkOutcome.CONFLICT:
        reason = Rejected(f"chunk {metadata.index} came twice with different bytes", rule="chunk_conflict")
        await deliveries.reject(metadata.delivery_id, reason)
    if outcome in (ChunkOutcome.STORED, ChunkOutcome.SEEN):
        fact = ChunkPersisted(
            tenant=metadata.tenant,
            business_date=metadata.business_date,
            delivery_id=metadata.delivery_id,
            entity=metadata.entity,
            index=metadata.index,
        )
        await sender.send("progress", key=fact.key, value=fact.encode())
    else:
        details = {"delivery_id": metadata.delivery_id, "index": metadata.index, "outcome": outcome.value}
        # A chunk of a repeat, a rejected or a removed delivery: nothing is lost, its bytes are in the bucket.
        logger.info("chunk not stored", extra=details)


def _count(metadata: ChunkMetadata, checked: CheckedChunk) -> None:
    metrics.CHUNKS_STORED.labels(metadata.entity).inc()
    metrics.BYTES_STORED.labels(metadata.entity).inc(metadata.byte_length)
    metrics.ROWS_STORED.labels(metadata.entity).inc(checked.persisted_count)
    metrics.ROWS_QUARANTINED.labels(metadata.entity).inc(checked.record_count - checked.persisted_count)


def check(metadata: ChunkMetadata, data: bytes) -> CheckedChunk:
    """The chunk's records, good and bad; Rejected when the bytes are not those that were sent."""
    _require_undamaged(metadata, data)
    return at_once(_check_records)(metadata, data)


def _require_undamaged(metadata: ChunkMetadata, data: bytes) -> None:
    if sha256(data).hexdigest() != metadata.sha256:
        raise Rejected(f"chunk {metadata.index} has other bytes than its hash says", rule="chunk_damaged")


def _check_records(metadata: ChunkMetadata, data: bytes) -> Steps[CheckedChunk]:
    entity = all_entities().get(metadata.entity)
    if entity is None:
        raise Rejected(f"no entity is called {metadata.entity!r}", rule="unknown_entity")
    return check_in_steps(
        data,
        entity=entity,
        columns=metadata.columns,
        first_line=metadata.first_line,
        byte_offset=metadata.byte_offset,
        header_raw=metadata.header,
        delimiter=metadata.delimiter,
        decimal_mark=metadata.decimal_mark,
        misaligned_tail=metadata.misaligned_tail,
        byte_length=metadata.byte_length,
    )
