"""Links and values of a set version, beside what its rows give now."""

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

import asyncpg
import polars as pl

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.frames import read_entity, read_values
from dataharvest.deliveries import OpenBatch, SetKey
from dataharvest.messages import Batch
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.statement import LinkFigures, ValueFigures, ValuesFromRows
from dataharvest.rules.values_compared import compare_values, is_summed, united
from dataharvest.sql import queries
from dataharvest.transformers import Transformer, all_transformers

_SQL = queries("reconciliation")
_PLAN_FOR_BATCHES = queries("work")["settings"]


class ValuesOfVersion:
    """Counts again in one snapshot; reads no more at a time than a worker does."""

    def __init__(self, connection: Connection, key: SetKey, version: asyncpg.Record) -> None:
        self._connection = connection
        self._key = key
        self._version = version
        # Nothing is left out because relating found every record linked: that is what is looked at.
        self._opened = OpenBatch(version["set_version_id"], computed=True, deliveries=version["deliveries"] or {})

    async def links(self) -> LinkFigures | None:
        """None where the rows have changed since the version was made."""
        if self._version["has_changed_rows"]:
            return None
        deliveries = (self._opened.delivery_of(name) for name in ("portfolios", "clients", "accounts"))
        row = await self._connection.fetchrow(_SQL["links"], self._opened.set_version_id, *deliveries)
        assert row is not None
        return LinkFigures(is_done=all_rules()[RELATIONSHIP].provides in self._version["facts"], **dict(row))

    async def figures(self) -> tuple[ValueFigures, ...]:
        """One for each transformer, in order of name."""
        identity, clients = self._opened.set_version_id, self._opened.delivery_of("clients")
        expected = await self._connection.fetchrow(_SQL["references"], identity, clients)
        assert expected is not None
        counts = {"client": None if self._version["has_changed_rows"] else expected["client"], "portfolio": expected["portfolio"]}
        return tuple([await self._of(one, counts[one.per]) for one in all_transformers().values()])

    async def _of(self, one: Transformer, expected_count: int | None) -> ValueFigures:
        which = self._opened.set_version_id, one.name
        is_done = one.rule.provides in self._version["facts"]
        computed_as = await self._connection.fetchrow(_SQL["computed_as"], *which)
        assert computed_as is not None
        is_other_logic = not set(computed_as["logic_versions"]) <= {one.logic_version}
        is_compared = is_done and computed_as["batch_count"] and not is_other_logic and not self._version["has_changed_rows"]
        return ValueFigures(
            transformer=one.name,
            per=one.per,
            is_done=is_done,
            expected_count=expected_count,
            reference_count=await self._connection.fetchval(_SQL["value_count"], *which),
            sums=typed_sums(await self._connection.fetch(_SQL["value_sums"], *which, summed(one)), amounts(one)),
            from_rows=await self._from_rows(one, computed_as["batch_count"]) if is_compared else None,
            is_other_logic=is_other_logic,
        )

    async def _from_rows(self, one: Transformer, batch_count: int) -> ValuesFromRows:
        await self._connection.execute(_PLAN_FOR_BATCHES)
        return united([await self._batch_from_rows(one, index, batch_count) for index in range(batch_count)])

    async def _batch_from_rows(self, one: Transformer, index: int, batch_count: int) -> ValuesFromRows:
        tenant, day = self._key
        number = self._version["version"]
        batch = Batch(tenant=tenant, business_date=day, version=number, rule=one.name, batch=index, batch_count=batch_count)
        where: dict[str, Any] = {"opened": self._opened, "batch": batch}
        frames = {
            name: await read_entity(self._connection, name, columns, per=one.per, **where) for name, columns in one.reads.items()
        }
        stored = await read_values(self._connection, {one.name: tuple(one.values)}, **where)
        return compare_values(one.compute(**frames), stored, one.values)


def amounts(transformer: Transformer) -> set[str]:
    """The values that are money."""
    return {name for name, kind in transformer.values.items() if isinstance(kind, pl.Decimal)}


def summed(transformer: Transformer) -> list[str]:
    """The values that have an exact sum."""
    return [name for name, kind in transformer.values.items() if is_summed(kind)]


def typed_sums(rows: Iterable[Any], money: Collection[str]) -> dict[str, Decimal | int]:
    """Rows of name and total as exact amounts and whole numbers, in order of name."""
    totals = {row["name"]: row["total"] for row in sorted(rows, key=lambda row: str(row["name"]))}
    return {name: Decimal(total) if name in money else int(total) for name, total in totals.items()}
