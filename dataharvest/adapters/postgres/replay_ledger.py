"""What the ledger in PostgreSQL knows of messages that may come again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import asyncpg

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.delivery_rows import lease_of
from dataharvest.deliveries import Lease, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.replaying.log import Span
from dataharvest.replaying.ports import Arrival, KnownChunks
from dataharvest.replaying.requests import Request
from dataharvest.rules.versions import ACCEPTING, IN_PROGRESS
from dataharvest.sql import queries
from dataharvest.tenants import ChunkKey

_SQL = queries("replays")


class PostgresReplayLedger:
    """The port ``ReplayLedger`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def arrival(self, tenant: str | None, day: date | None) -> Arrival | None:
        """See the port."""
        [row] = await self._rows("arrival", tenant, day)
        return None if row["registered_at"] is None else Arrival(row["registered_at"], row["modified_at"])

    async def object_keys(self, tenant: str | None, day: date | None) -> set[str]:
        """See the port."""
        return {row["object_key"] for row in await self._rows("object_keys", tenant, day)}

    async def spans(self, tenant: str | None, day: date | None) -> dict[int, Span]:
        """See the port."""
        rows = await self._rows("spans", tenant, day)
        # Of a partition on which nothing was stored only the end is known.
        return {row["partition"]: Span(row["start_offset"] or 0, row["stop_offset"]) for row in rows}

    async def chunks_in(self, request: Request, spans: Mapping[int, Span] | None) -> dict[int, KnownChunks]:
        """See the port."""
        places = (
            [list(column) for column in zip(*((number, *span) for number, span in spans.items()), strict=True)] if spans else []
        )
        nowhere: list[Any] = [[], [], []] if spans is not None else [None, None, None]
        subject = (request.tenant, request.business_date)
        rows = await self._rows("chunks_in", *subject, request.from_time, request.to_time, *(places or nowhere))
        found = {row["delivery_id"]: KnownChunks(row["indexes"], row["byte_count"]) for row in rows}
        if spans is None and not request.has_times:
            for row in await self._rows("sealed_gaps", *subject):
                known = found.get(row["delivery_id"], KnownChunks([], 0))
                found[row["delivery_id"]] = KnownChunks(sorted([*known.indexes, *row["indexes"]]), known.byte_count)
        return found

    async def lease_of(self, delivery_id: int) -> Lease:
        """See the port."""
        rows = await self._rows("delivery", delivery_id)
        if not rows:
            raise Rejected(f"there is no delivery {delivery_id}", rule="unknown_delivery")
        return lease_of(rows[0])

    async def sets_of(self, delivery_ids: Collection[int]) -> dict[int, SetKey]:
        """See the port."""
        rows = await self._rows("delivery_sets", list(delivery_ids))
        return {row["delivery_id"]: SetKey(row["tenant"], row["business_date"]) for row in rows}

    async def sets_of_keys(self, object_keys: Collection[str]) -> dict[int, SetKey]:
        """See the port."""
        rows = await self._rows("key_sets", list(object_keys))
        return {row["delivery_id"]: SetKey(row["tenant"], row["business_date"]) for row in rows}

    async def chunks_that_act(self, chunks: Collection[ChunkKey]) -> set[ChunkKey]:
        """See the port."""
        columns = [one.delivery_id for one in chunks], [one.chunk_index for one in chunks]
        return {ChunkKey(*row) for row in await self._rows("chunks_that_act", *columns, list(ACCEPTING))}

    async def batches_that_act(self, batches: Sequence[Batch]) -> list[Batch]:
        """See the port."""
        rows = await self._rows("batches_that_act", *_columns(batches), [one.batch for one in batches])
        return [batches[row["place"] - 1] for row in rows]

    async def rules_that_act(self, rules: Sequence[RuleReady]) -> list[RuleReady]:
        """See the port."""
        return [rules[row["place"] - 1] for row in await self._rows("rules_that_act", *_columns(rules))]

    async def judgements_that_act(self, delivery_ids: Collection[int]) -> set[int]:
        """See the port."""
        return {row["delivery_id"] for row in await self._rows("judgements_that_act", list(delivery_ids))}

    async def sets_that_go_on(self, keys: Collection[SetKey]) -> set[SetKey]:
        """See the port."""
        columns = [one.tenant for one in keys], [one.business_date for one in keys]
        return {SetKey(*row) for row in await self._rows("sets_that_go_on", *columns, list(IN_PROGRESS))}

    async def _rows(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(_SQL[name], *arguments)
        return rows


def _columns(messages: Sequence[Batch | RuleReady]) -> list[list[Any]]:
    return [[getattr(one, name) for one in messages] for name in ("tenant", "business_date", "version", "rule")]
