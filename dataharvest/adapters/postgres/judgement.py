"""Judgements in PostgreSQL: from a sealed delivery that is all there to one that counts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.judgement_slices import ROWS_PER_SLICE
from dataharvest.adapters.postgres.key_hashes import KEY_HASHING, KeyHashing
from dataharvest.adapters.postgres.locked_judgement import LockedJudgement
from dataharvest.adapters.postgres.sets import shared
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.deliveries import SetKey
from dataharvest.messages import Judgement
from dataharvest.ports import LockedSet
from dataharvest.rules.tiling import ConservationBroken, LedgerRow, totals_of
from dataharvest.sql import queries

_SQL = queries("judgement")


class PostgresJudgements:
    """The port ``Judgements`` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        *,
        hashing: KeyHashing = KEY_HASHING,
        summaries: Summaries | None = None,
        slice_rows: int = ROWS_PER_SLICE,
    ) -> None:
        self._database = database
        self._hashing = hashing
        self._slice_rows = slice_rows
        self._summaries = summaries or Summaries(database)

    async def begin(self, delivery_id: int) -> str:
        """See the port."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["lock_delivery"], delivery_id)
            if row is None:
                return "unknown"
            if row["state"] != "sealed":
                return str(row["state"])
            ledger = [LedgerRow(*one) for one in await connection.fetch(_SQL["ledger"], delivery_id)]
            if len(ledger) != row["chunk_count"]:
                return "sealed"
            try:
                totals = totals_of(ledger, start=row["content_start"], end=row["content_end"])
            except ConservationBroken as broken:
                await connection.execute(_SQL["note_broken"], delivery_id, str(broken))
                return "broken"
            await connection.execute(_SQL["begin"], delivery_id, *totals)
        return "judging"

    async def begin_small(self, delivery_id: int, *, at_most: int) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_SQL["begin_small"], delivery_id, at_most) is not None

    async def is_going_on(self, delivery_id: int) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(_SQL["is_going_on"], delivery_id))

    async def unsent(self, key: SetKey) -> list[Judgement]:
        """See the port."""
        async with self._database.connection() as connection:
            return [Judgement(**dict(row)) for row in await connection.fetch(_SQL["unsent"], *key)]

    async def overdue(self, *, age_s: float) -> list[Judgement]:
        """See the port."""
        async with self._database.connection() as connection:
            return [Judgement(**dict(row)) for row in await connection.fetch(_SQL["overdue"], age_s)]

    async def mark_sent(self, delivery_id: int) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["sent"], delivery_id)

    @asynccontextmanager
    async def open(self, delivery_id: int, *, within: LockedSet | None = None) -> AsyncIterator[LockedJudgement | None]:
        """See the port."""
        if within is None:
            await self._summaries.refresh()
        async with self._database.transaction() if within is None else shared(within) as connection:
            row = await connection.fetchrow(_SQL["lock"], delivery_id)
            if row is None:
                yield None
            else:
                yield LockedJudgement(
                    connection,
                    row,
                    hashing=self._hashing,
                    slice_rows=self._slice_rows,
                    is_set_locked=within is not None,
                )

    async def forget_concluded(self) -> int:
        """See the port."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(_SQL["forget_concluded"]))

    async def note_waiting(self, delivery_id: int, failure: Mapping[str, Any]) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note_waiting"], delivery_id, dict(failure))

    async def note_broken(self, delivery_id: int, message: str) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note_broken"], delivery_id, message)
