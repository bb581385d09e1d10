"""Values as they are stored beside those that the rows give now."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from dataharvest.rules.control_totals import exact_sum
from dataharvest.rules.statement import Unlike, ValuesFromRows

NAMED = 5
"""Clients or portfolios that are named, at most, where something differs."""
_STORED = ", stored"
"""No column is called so."""


def is_summed(kind: pl.DataType) -> bool:
    """Whether amounts of this type have an exact sum."""
    return isinstance(kind, pl.Decimal) or kind.is_integer()


def compare_values(given: pl.DataFrame, stored: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> ValuesFromRows:
    """What the rows give, and whose stored values are others.

    Both frames have ``reference`` and the columns of ``kinds``; stored ones have these types, given ones as a transformer made
    them. A client or portfolio that only one of the two has counts as one whose values differ.
    """
    mine = given.select("reference", *(_as_read_again(name, given.schema[name], kind) for name, kind in kinds.items()))
    beside = mine.join(stored, on="reference", how="full", suffix=_STORED)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name + _STORED)) for name in ("reference", *kinds))
    differing = beside.filter(differs).select(pl.coalesce("reference", "reference" + _STORED)).to_series()
    sums = {name: _sum(given[name]) for name, kind in kinds.items() if is_summed(kind)}
    return ValuesFromRows(sums=sums, unlike=unlike(differing))


def unlike(references: Iterable[str]) -> Unlike:
    """These clients or portfolios, the first of them by name."""
    ordered = sorted(references)
    return Unlike(count=len(ordered), sample=tuple(ordered[:NAMED]))


def united(parts: Sequence[Unlike]) -> Unlike:
    """The parts of one transformer or message as one."""
    sample = sorted(reference for one in parts for reference in one.sample)
    return Unlike(count=sum(one.count for one in parts), sample=tuple(sample[:NAMED]))


def united_values(parts: Sequence[ValuesFromRows]) -> ValuesFromRows:
    """The parts of one transformer as one; at least one."""
    sums = {name: _total([one.sums[name] for one in parts]) for name in parts[0].sums}
    return ValuesFromRows(sums=sums, unlike=united([one.unlike for one in parts]))


def _as_read_again(name: str, given: pl.DataType, kind: pl.DataType) -> pl.Expr:
    """A column as it would be read again after it was stored, as text."""
    # JSON has no text for what is no number, and none for what is infinite.
    known = pl.when(pl.col(name).is_finite()).then(pl.col(name)) if given.is_float() else pl.col(name)
    return known.cast(pl.String).cast(kind)


def _sum(amounts: pl.Series) -> Decimal | int:
    # Of integers a sum that does not fit its type begins anew from below.
    wide = amounts if isinstance(amounts.dtype, pl.Decimal) else amounts.cast(pl.Int128)
    total: Any = wide.sum()
    return total if isinstance(total, Decimal) else int(total)


def _total(amounts: Sequence[Decimal | int]) -> Decimal | int:
    money = [one for one in amounts if isinstance(one, Decimal)]
    return exact_sum(money) if money else sum(int(one) for one in amounts)
