"""Batches in PostgreSQL: planned, computed, published, each step once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import polars as pl

from dataharvest.adapters.postgres.carrying import BesideBase
from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.frames import copy_frame, read_frames, read_values
from dataharvest.adapters.postgres.notifications import add_notification
from dataharvest.adapters.postgres.relating import relate_slice
from dataharvest.adapters.postgres.sets import shared
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.deliveries import OpenBatch, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import LockedSet, Position
from dataharvest.rules.carrying import NOTHING, Carried
from dataharvest.rules.notifying import Note
from dataharvest.rules.outbound_messages import LastMessage, OutboundRow
from dataharvest.sql import queries
from dataharvest.transformers.model import Per, Reads

_SQL = queries("work")
_BEGIN = _SQL["begin"].replace("{settings}", _SQL["settings"])


class PostgresWork:
    """The port ``Work`` on PostgreSQL."""

    def __init__(self, database: Database, *, summaries: Summaries | None = None) -> None:
        self._database = database
        self._summaries = summaries or Summaries(database)

    async def record_counts(self, ready: RuleReady) -> dict[str, int]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["record_counts"], *_version(ready))
        return {row["entity"]: row["persisted_count"] for row in rows}

    @asynccontextmanager
    async def beside_base(self, ready: RuleReady) -> AsyncIterator[BesideBase | None]:
        """See the port."""
        async with self._database.connection() as connection:
            row: Any = await connection.fetchrow(queries("carrying")["pair"], *_version(ready), ready.rule)
        if row is None:
            yield None
            return
        await self._summaries.refresh()
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["settings"])
            yield BesideBase(connection, row)

    async def plan(self, ready: RuleReady, *, batch_count: int, carried: Carried = NOTHING, is_held: bool = False) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            arguments = (*_version(ready), ready.rule, batch_count, carried.names, carried.references, is_held)
            rows = await connection.fetch(_SQL["plan"], *arguments)
        return bool(rows)

    async def plan_small(self, ready: RuleReady, *, at_most: int) -> tuple[dict[str, int], bool]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["plan_small"], *_version(ready), ready.rule, at_most)
        return {row["entity"]: row["persisted_count"] for row in rows}, any(row["is_planned"] for row in rows)

    async def is_done(self, batch: Batch) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            place = (*_version(batch), batch.rule, batch.batch)
            return bool(await connection.fetchval(_SQL["is_done"], *place, batch.batch_count))

    async def release(self, batch: Batch) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["release"], *_version(batch), batch.rule, batch.batch)

    async def unsent(self, ready: RuleReady) -> list[Batch]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["unsent"], *_version(ready), ready.rule)
        named = ready.model_dump(include={"tenant", "business_date", "version", "rule"})
        return [Batch(**named, batch=row["batch_index"], batch_count=row["batch_count"]) for row in rows]

    async def mark_sent(self, batch: Batch, position: Position | None = None) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await _mark_sent(connection, batch, position)

    @asynccontextmanager
    async def next_batches(self, tenant: str, *, at_once: int) -> AsyncIterator["BatchesToSend"]:
        """See the port."""
        async with self._database.connection() as connection:
            if not await connection.fetchval(_SQL["any_unsent"], tenant):
                yield BatchesToSend(connection, {})
                return
            async with connection.transaction():
                await connection.execute(_SQL["lock_batches"], tenant)
                rows = await connection.fetch(_SQL["next_batches"], tenant, at_once)
                names = Batch.model_fields.keys() - {"type"}
                yield BatchesToSend(
                    connection, {Batch(**{name: row[name] for name in names}): row["traceparent"] for row in rows}
                )

    @asynccontextmanager
    async def open_batch(self, batch: Batch, *, within: LockedSet | None = None) -> AsyncIterator["LockedBatch | None"]:
        """See the port."""
        if within is None:
            await self._summaries.refresh()
        async with self._database.transaction() if within is None else shared(within) as connection:
            row = await connection.fetchrow(_BEGIN, *_version(batch), batch.rule, batch.batch)
            if row is None or row["state"] in ("cancelled", "blocked"):
                yield None
                return
            yield LockedBatch(connection, batch, _opened(row))

    async def unsent_outbound(self, opened: OpenBatch, batch: Batch, *, kind: str) -> list[tuple[str, str, bytes]]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["unsent_outbound"], opened.set_version_id, kind, batch.batch)
        return [(str(row["message_id"]), str(row["reference"]), row["payload"].encode()) for row in rows]

    async def mark_done(
        self, opened: OpenBatch, batch: Batch, *, provides: str | None = None, within: LockedSet | None = None
    ) -> None:
        """See the port."""
        async with self._database.connection() if within is None else shared(within) as connection:
            await connection.execute(_SQL["done"], opened.set_version_id, batch.rule, batch.batch, provides)


class BatchesToSend:
    """Batches whose turn it is, and nobody else's until the block ends."""

    def __init__(self, connection: Connection, traces: Mapping[Batch, str | None]) -> None:
        self._connection = connection
        self._traces = traces
        self.batches = list(traces)

    def trace_of(self, batch: Batch) -> str | None:
        """See the port."""
        return self._traces[batch]

    async def mark_sent(self, batch: Batch, position: Position) -> None:
        """See the port."""
        await _mark_sent(self._connection, batch, position)


class LockedBatch:
    """A batch in a transaction: what is read and written belongs to one state of one version."""

    def __init__(self, connection: Connection, batch: Batch, opened: OpenBatch) -> None:
        self._connection = connection
        self._batch = batch
        self.opened = opened

    async def frames(self, reads: Reads, *, per: Per) -> dict[str, pl.DataFrame]:
        """See the port."""
        return await read_frames(self._connection, reads, per=per, opened=self.opened, batch=self._batch)

    async def values(self, takes: Reads) -> pl.DataFrame:
        """See the port."""
        return await read_values(self._connection, takes, opened=self.opened, batch=self._batch)

    async def mixed_currency_count(self) -> int:
        """See the port."""
        query = queries("status")["mixed_currency"]
        count: int = await self._connection.fetchval(query, self.opened.set_version_id, self.opened.delivery_of("accounts"))
        return count

    async def relate(self) -> dict[str, int] | None:
        """See the port."""
        return await relate_slice(self._connection, self._batch, self.opened)

    async def block(self, failure: dict[str, Any]) -> None:
        """See the port."""
        await self._connection.execute(_SQL["block"], self.opened.set_version_id, failure)

    async def notify(self, note: Note) -> None:
        """See the port."""
        await add_notification(self._connection, SetKey(self._batch.tenant, self._batch.business_date), note)

    async def store_values(self, values: pl.DataFrame, *, transformer: str, logic_version: int) -> None:
        """See the port."""
        constants = {
            "set_version_id": self.opened.set_version_id,
            "transformer": transformer,
            "logic_version": logic_version,
        }
        frame = values.with_columns(**{name: pl.lit(value) for name, value in constants.items()})
        await copy_frame(self._connection, "value", frame.select(*constants, "reference", "fields"))

    async def carry_values(self, *, transformer: str) -> None:
        """See the port."""
        version, base, batch = self.opened.set_version_id, self.opened.base_version_id, self._batch
        await self._connection.execute(_SQL["carry_values"], version, base, transformer, batch.batch, batch.batch_count)

    async def last_outbound(self, *, kind: str) -> dict[str, LastMessage]:
        """See the port."""
        batch, only = self._batch, self.opened.references
        places = batch.tenant, batch.business_date, kind, batch.version, batch.batch, batch.batch_count
        rows = await self._connection.fetch(_SQL["last_outbound"], *places, only)
        return {
            str(row["reference"]): LastMessage(str(row["message_id"]), row["content_sha256"], row["withdrawn"]) for row in rows
        }

    async def store_outbound(self, rows: Sequence[OutboundRow], *, kind: str) -> None:
        """See the port."""
        batch = self._batch
        shared = (self.opened.set_version_id, batch.tenant, batch.business_date, kind, batch.version, batch.batch)
        columns = (
            "set_version_id tenant business_date kind version batch_index message_id reference supersedes withdrawn "
            "content_sha256 payload"
        )
        records = [
            (*shared, one.message_id, one.reference, one.supersedes, one.withdrawn, one.content_sha256, one.payload.decode())
            for one in rows
        ]
        await self._connection.copy_records_to_table("outbound_message", records=records, columns=columns.split())

    async def mark_computed(self, *, made_by: str | None = None, is_done: bool = False, provides: str | None = None) -> None:
        """See the port."""
        place = self.opened.set_version_id, self._batch.rule, self._batch.batch
        await self._connection.execute(_SQL["computed"], *place, made_by, is_done, provides)


def _version(message: RuleReady | Batch) -> tuple[Any, ...]:
    return (*SetKey(message.tenant, message.business_date), message.version)


def _opened(row: Any) -> OpenBatch:
    only = row["only_references"]
    return OpenBatch(
        row["set_version_id"],
        row["computed_at"] is not None,
        row["deliveries"],
        row["contract_version"] or 0,
        row["all_linked"],
        row["base_version_id"],
        frozenset(row["carried"]),
        None if only is None else tuple(map(str, only)),
    )


async def _mark_sent(connection: Connection, batch: Batch, position: Position | None) -> None:
    place = (position.partition, position.offset) if position else (None, None)
    await connection.execute(_SQL["sent"], *_version(batch), batch.rule, batch.batch, *place)
