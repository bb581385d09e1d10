"""Chunks in PostgreSQL: rows, quarantined records and ledger row in one transaction."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.deliveries import ChunkOutcome
from dataharvest.entities import all_entities
from dataharvest.errors import Unavailable
from dataharvest.failpoints import failpoint
from dataharvest.messages import ChunkMetadata
from dataharvest.ports import Position
from dataharvest.rules.records import CheckedChunk, QuarantinedRecord
from dataharvest.rules.versions import ACCEPTING
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("chunks")
_QUARANTINE_COLUMNS = (
    "delivery_id",
    "chunk_index",
    "position",
    "tenant",
    "line",
    "byte_offset",
    "byte_length",
    "column_name",
    "rule",
    "message",
    "raw",
    "record_count",
)
_BYTES_OF_MANY = 64 << 10
"""Of a chunk that is no small file. Who loads many rows tells the index of them, or the next small set must, or read them."""


class _SeenMeanwhile(Exception):
    """Another worker stored the chunk while this one copied it; roll back."""


class PostgresChunks:
    """The port ``Chunks`` on PostgreSQL."""

    def __init__(self, database: Database, *, summaries: Summaries | None = None) -> None:
        self._database = database
        self._summaries = summaries or Summaries(database)

    async def persist(self, metadata: ChunkMetadata, checked: CheckedChunk, *, position: Position) -> ChunkOutcome:
        """See the port."""
        try:
            async with self._database.transaction() as connection:
                refusal = await _refusal(connection, metadata)
                if refusal is None:
                    await _copy_checked(connection, metadata.entity, checked)
                    where = (metadata.delivery_id, metadata.index, metadata.tenant)
                    await copy_quarantined(connection, *where, checked.quarantined)
                    failpoint("persist.copied")
                    await _insert_ledger_row(connection, metadata, checked, position)
                    failpoint("persist.ledger_row")
        except _SeenMeanwhile:
            return ChunkOutcome.SEEN
        if refusal is None and metadata.byte_length >= _BYTES_OF_MANY:
            await self._tell_the_index()
        return refusal or ChunkOutcome.STORED

    async def _tell_the_index(self) -> None:
        try:
            await self._summaries.refresh()
        except Unavailable as outage:
            # The chunk is stored; the next one tells.
            logger.warning("index not told of new rows", extra={"reason": str(outage)})


async def _refusal(connection: Connection, metadata: ChunkMetadata) -> ChunkOutcome | None:
    chunk = metadata.delivery_id, metadata.index
    row = await connection.fetchrow(_SQL["lock_accepting_at_once"], *chunk)
    # A delivery that is being judged may be locked for long, and has all its chunks: one that comes again need not wait.
    row = row or await connection.fetchrow(_SQL["stored"], *chunk)
    row = row or await connection.fetchrow(_SQL["lock_accepting"], *chunk)
    if row is None:
        return ChunkOutcome.NOT_ACCEPTED
    if row["stored_sha256"] is not None:
        same = row["stored_sha256"].hex() == metadata.sha256
        return ChunkOutcome.SEEN if same else ChunkOutcome.CONFLICT
    return None if row["state"] in ACCEPTING else ChunkOutcome.NOT_ACCEPTED


async def copy_rows(connection: Connection, entity: str, delivery_id: int, checked: CheckedChunk) -> None:
    """Store the good records of a chunk."""
    if checked.copy_text:
        await _name(connection, delivery_id)
        await _copy_checked(connection, entity, checked)


async def copy_rows_into(connection: Connection, table: str, delivery_id: int, *, columns: Sequence[str], text: bytes) -> None:
    """Store rows of a delivery in the table of its entity, or in one that is like it."""
    await _name(connection, delivery_id)
    await _copy(connection, table, columns=columns, text=text)


async def _name(connection: Connection, delivery_id: int) -> None:
    await connection.fetchval(_SQL["name_delivery"], str(delivery_id))


async def _copy_checked(connection: Connection, entity: str, checked: CheckedChunk) -> None:
    if checked.copy_text:
        await _copy(connection, all_entities()[entity].table, columns=checked.copy_columns, text=checked.copy_text)


async def _copy(connection: Connection, table: str, *, columns: Sequence[str], text: bytes) -> None:
    # The transaction has named the delivery.
    await connection.copy_to_table(
        table,
        source=_once(text),
        columns=list(columns),
        format="text",
        delimiter=",",
        null="",
    )


async def copy_quarantined(
    connection: Connection, delivery_id: int, index: int, tenant: str, quarantined: Sequence[QuarantinedRecord]
) -> None:
    """Store what a chunk leaves in quarantine."""
    await copy_all_quarantined(connection, delivery_id, tenant, {index: quarantined})


async def copy_all_quarantined(
    connection: Connection, delivery_id: int, tenant: str, quarantined: Mapping[int, Sequence[QuarantinedRecord]]
) -> None:
    """Store what several chunks leave in quarantine, by their index."""
    records = [
        (
            delivery_id,
            index,
            one.position,
            tenant,
            one.line,
            one.byte_offset,
            one.byte_length,
            one.column,
            one.rule,
            one.message,
            one.raw,
            one.record_count,
        )
        for index, entries in quarantined.items()
        for one in entries
    ]
    if records:
        await connection.copy_records_to_table("quarantine", records=records, columns=list(_QUARANTINE_COLUMNS))


async def _insert_ledger_row(connection: Connection, metadata: ChunkMetadata, checked: CheckedChunk, position: Position) -> None:
    inserted = await connection.fetchval(
        _SQL["insert_chunk"],
        metadata.delivery_id,
        metadata.index,
        metadata.tenant,
        metadata.byte_offset,
        metadata.byte_length,
        metadata.first_line,
        bytes.fromhex(metadata.sha256),
        checked.record_count,
        checked.persisted_count,
        len(checked.quarantined),
        position.partition,
        position.offset,
    )
    if inserted is None:
        raise _SeenMeanwhile


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
    failpoint("persist.mid_copy")
