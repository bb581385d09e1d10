"""Links, orphans and values of a set version, beside what its rows give now."""

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

import polars as pl

from dataharvest.adapters.postgres.frames import read_values
from dataharvest.adapters.postgres.reconciled_batches import VersionAgain
from dataharvest.messages import Batch
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.statement import RelationFigures, Unlike, ValueFigures, ValuesFromRows
from dataharvest.rules.values_compared import NAMED, compare_values, is_summed, united_values
from dataharvest.sql import queries
from dataharvest.transformers import Transformer, all_transformers

_SQL = queries("reconciliation")


async def relation_figures(version: VersionAgain) -> RelationFigures | None:
    """None where the set has changed since the version was made."""
    if version.is_other_edition:
        return None
    identity, fetch = version.opened.set_version_id, version.connection.fetch
    portfolios, clients, accounts, transactions = map(
        version.opened.delivery_of, ("portfolios", "clients", "accounts", "transactions")
    )
    [links] = await fetch(_SQL["links"], identity, portfolios, clients, accounts, NAMED)
    return RelationFigures(
        is_done=all_rules()[RELATIONSHIP].provides in version.facts or version.state == "blocked",
        expected_count=links["expected_count"],
        link_count=links["link_count"],
        missing=Unlike(count=links["missing_count"], sample=tuple(links["missing_sample"])),
        expected_orphans=_by_kind(await fetch(_SQL["expected_orphans"], portfolios, clients, accounts, transactions)),
        orphan_counts=_by_kind(await fetch(_SQL["orphan_counts"], identity)),
    )


async def value_figures(version: VersionAgain) -> tuple[ValueFigures, ...]:
    """One for each transformer, in order of name."""
    identity, clients = version.opened.set_version_id, version.opened.delivery_of("clients")
    [expected] = await version.connection.fetch(_SQL["references"], identity, clients)
    counts = {"client": None if version.is_other_edition else expected["client"], "portfolio": expected["portfolio"]}
    return tuple([await _values_of(version, one, counts[one.per]) for one in all_transformers().values()])


async def _values_of(version: VersionAgain, one: Transformer, expected_count: int | None) -> ValueFigures:
    which = version.opened.set_version_id, one.name
    is_done = one.rule.provides in version.facts
    is_other_logic = await version.is_other_logic(one)
    is_compared = is_done and not is_other_logic and not version.is_other_edition
    return ValueFigures(
        transformer=one.name,
        per=one.per,
        is_done=is_done,
        expected_count=expected_count,
        reference_count=await version.connection.fetchval(_SQL["value_count"], *which),
        sums=typed_sums(await version.connection.fetch(_SQL["value_sums"], *which, summed(one)), amounts(one)),
        from_rows=await _from_rows(version, one) if is_compared else None,
        is_other_logic=is_other_logic,
    )


async def _from_rows(version: VersionAgain, one: Transformer) -> ValuesFromRows:
    return united_values([await _batch_from_rows(version, one, batch) for batch in version.batches(one)])


async def _batch_from_rows(version: VersionAgain, one: Transformer, batch: Batch) -> ValuesFromRows:
    takes = {one.name: tuple(one.values)}
    stored = await read_values(version.connection, takes, opened=version.opened, batch=batch)
    return compare_values(one.values_of(await version.frames(one, batch)), stored, one.values)


def amounts(transformer: Transformer) -> set[str]:
    """The values that are money."""
    return {name for name, kind in transformer.values.items() if isinstance(kind, pl.Decimal)}


def summed(transformer: Transformer) -> list[str]:
    """The values that have an exact sum."""
    return [name for name, kind in transformer.values.items() if is_summed(kind)]


def typed_sums(rows: Iterable[Any], money: Collection[str]) -> dict[str, Decimal | int]:
    """Rows of name and total as exact amounts and whole numbers, in order of name."""
    totals = {row["name"]: row["total"] for row in sorted(rows, key=lambda row: str(row["name"]))}
    # What another declaration has made may have decimals where today's has none.
    return {name: Decimal(total) if name in money or "." in total else int(total) for name, total in totals.items()}


def _by_kind(rows: Iterable[Any]) -> dict[str, int]:
    return {row["kind"]: row["record_count"] for row in rows}
