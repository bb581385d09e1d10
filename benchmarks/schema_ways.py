"""Three ways to keep the rows of deliveries, to be compared: a table each, one table, one table parted by business date."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.key_hashes import KEY_HASHING, stored_suspects, suspects_in
from dataharvest.adapters.postgres.schema import BY_DELIVERY
from dataharvest.adapters.postgres.sums import sums_query, weighing_query
from dataharvest.entities import all_entities

_ENTITY = all_entities()["transactions"]
_COLUMNS = ", ".join(f"{one.name} {one.kind.value}" for one in _ENTITY.columns)
_BRIN = f"CREATE INDEX ON {{table}} USING brin ({BY_DELIVERY})"
_DELIVERY = "delivery_id bigint NOT NULL DEFAULT delivery_being_loaded()"


@dataclass(frozen=True)
class Delivery:
    """One file that was sent."""

    number: int
    day: date


class OwnTables:
    """A table per delivery without the delivery's number, and its indexes once it is loaded."""

    name = "own table"

    async def prepare(self, connection: Connection, days: Sequence[date]) -> None:
        """Nothing is there before the first delivery."""

    async def store(self, connection: Connection, one: Delivery, chunks: Sequence[bytes]) -> None:
        """Make the table and load it, a transaction for each chunk."""
        await connection.execute(f"CREATE TABLE {self._table(one)} ({_COLUMNS})")
        for chunk in chunks:
            await _copy(connection, self._table(one), chunk)

    async def seal(self, connection: Connection, one: Delivery, *, count: int) -> None:
        """Sums, and the indexes; that references are unique is what the unique one says."""
        await connection.fetchrow(f"SELECT count(*), sum(amount) FROM {self._table(one)}")
        await connection.execute(f"CREATE INDEX ON {self._table(one)} (account_number)")
        await connection.execute(f"CREATE UNIQUE INDEX ON {self._table(one)} (transaction_reference)")

    def source(self, one: Delivery) -> str:
        """FROM and WHERE of the delivery's rows; WHERE is open for more."""
        return f"{self._table(one)} WHERE true"

    async def remove(self, connection: Connection, one: Delivery) -> None:
        """Drop the table."""
        await connection.execute(f"DROP TABLE {self._table(one)}")

    def _table(self, one: Delivery) -> str:
        return f"own_{one.number}"


class OneTable:
    """What the program does: one table for all, no key, a BRIN index on the delivery, duplicates found by hashes."""

    name = "one table"

    def __init__(self) -> None:
        self._entity = replace(_ENTITY, name=self.name.replace(" ", "_"))

    async def prepare(self, connection: Connection, days: Sequence[date]) -> None:
        """Make the table."""
        table = self._entity.table
        await connection.execute(f"CREATE TABLE {table} ({_DELIVERY}, {_COLUMNS})")
        await connection.execute(_BRIN.format(table=table))

    async def store(self, connection: Connection, one: Delivery, chunks: Sequence[bytes]) -> None:
        """Load, a transaction for each chunk."""
        await connection.execute("SELECT set_config('dataharvest.delivery_id', $1, false)", str(one.number))
        for chunk in chunks:
            await _copy(connection, self._target(one), chunk)

    async def seal(self, connection: Connection, one: Delivery, *, count: int) -> None:
        """Sums, and whether any reference occurs twice."""
        async with connection.transaction():
            if count > KEY_HASHING.at_once:
                await connection.fetchrow(sums_query(self._entity), one.number)
                await stored_suspects(connection, self._entity, one.number, hashing=KEY_HASHING, count=count)
            else:
                query = weighing_query(self._entity, key_hash=KEY_HASHING.of(self._entity))
                found: Any = await connection.fetchrow(query, one.number)
                await suspects_in(found["hashes"])

    def source(self, one: Delivery) -> str:
        """FROM and WHERE of the delivery's rows; WHERE is open for more."""
        return f"{self._entity.table} WHERE delivery_id = {one.number}"

    async def remove(self, connection: Connection, one: Delivery) -> None:
        """Delete the rows."""
        await connection.execute(f"DELETE FROM {self.source(one)}")

    def _target(self, one: Delivery) -> str:
        return self._entity.table


class DatedTable(OneTable):
    """The same, parted by business date."""

    name = "parted by date"

    async def prepare(self, connection: Connection, days: Sequence[date]) -> None:
        """Make the table and a part for each date."""
        table, columns = self._entity.table, f"business_date date NOT NULL, {_DELIVERY}, {_COLUMNS}"
        await connection.execute(f"CREATE TABLE {table} ({columns}) PARTITION BY LIST (business_date)")
        await connection.execute(_BRIN.format(table=table))
        for day in days:
            part = f"{table}_{day:%Y%m%d}"
            await connection.execute(f"CREATE TABLE {part} PARTITION OF {table} FOR VALUES IN ('{day}')")
            await connection.execute(f"ALTER TABLE {part} ALTER COLUMN business_date SET DEFAULT '{day}'")

    def source(self, one: Delivery) -> str:
        """FROM and WHERE of the delivery's rows; WHERE is open for more."""
        return f"{self._entity.table} WHERE business_date = '{one.day}' AND delivery_id = {one.number}"

    async def seal(self, connection: Connection, one: Delivery, *, count: int) -> None:
        """As in one table, of the date's part."""
        part = replace(self._entity, name=self._target(one).removeprefix("row_"))
        whole, self._entity = self._entity, part
        try:
            await super().seal(connection, one, count=count)
        finally:
            self._entity = whole

    def _target(self, one: Delivery) -> str:
        return f"{self._entity.table}_{one.day:%Y%m%d}"


Way = OwnTables | OneTable | DatedTable


async def _copy(connection: Connection, table: str, chunk: bytes) -> None:
    names = [one.name for one in _ENTITY.columns]
    await connection.copy_to_table(table, source=_once(chunk), columns=names, format="text", delimiter=",", null="")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
