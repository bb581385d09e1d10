"""Values as they are stored beside those that the rows give now."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import polars as pl

from dataharvest.rules.control_totals import exact_sum
from dataharvest.rules.statement import ValuesFromRows

NAMED = 5
"""Clients or portfolios that are named, at most, where values differ."""


def is_summed(kind: pl.DataType) -> bool:
    """Whether amounts of this type have an exact sum."""
    return isinstance(kind, pl.Decimal) or kind.is_integer()


def compare_values(given: pl.DataFrame, stored: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> ValuesFromRows:
    """What the rows give, and whose stored values are others.

    Both frames have ``reference`` and the columns of ``kinds``. A client or portfolio that only one of the two has counts as
    one whose values differ.
    """
    mine = given.select("reference", *(pl.col(name).cast(kind) for name, kind in kinds.items()))
    beside = mine.join(stored, on="reference", how="full", suffix="_stored")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in ("reference", *kinds))
    differing = beside.filter(differs).select(pl.coalesce("reference", "reference_stored").sort()).to_series()
    totals = {name: mine.select(pl.col(name).sum()).item() for name, kind in kinds.items() if is_summed(kind)}
    return ValuesFromRows(sums=totals, differing_count=len(differing), sample=tuple(differing.head(NAMED)))


def united(parts: Iterable[ValuesFromRows]) -> ValuesFromRows:
    """The parts of one transformer as one."""
    found = list(parts)
    names = found[0].sums if found else ()
    sample = sorted(reference for one in found for reference in one.sample)
    return ValuesFromRows(
        sums={name: _total([one.sums[name] for one in found]) for name in names},
        differing_count=sum(one.differing_count for one in found),
        sample=tuple(sample[:NAMED]),
    )


def _total(amounts: Sequence[Decimal | int]) -> Decimal | int:
    money = [one for one in amounts if isinstance(one, Decimal)]
    return exact_sum(money) if money else sum(int(one) for one in amounts)
