"""That values which the rows do not give are found, whichever way they differ."""

from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.statement import ValuesFromRows
from dataharvest.rules.values_compared import NAMED, compare_values, united
from dataharvest.transformers import AMOUNT, COUNT

KINDS: dict[str, pl.DataType] = {"paid": AMOUNT, "count": COUNT, "rank": pl.String()}


def frame(rows: dict[str, tuple[str | None, int | None, str | None]]) -> pl.DataFrame:
    """Values by reference, as PostgreSQL or a transformer gives them."""
    columns = [[row[i] for row in rows.values()] for i in range(3)]
    data = {"reference": list(rows), **dict(zip(KINDS, columns, strict=True))}
    schema = {"reference": pl.String, "paid": pl.String, "count": pl.Int64, "rank": pl.String}
    return pl.DataFrame(data, schema=schema).with_columns(pl.col("paid").cast(AMOUNT))


ROWS: dict[str, tuple[str | None, int | None, str | None]] = {"a": ("1.25", 2, "x"), "b": ("-3.5", 1, None), "c": (None, 0, "y")}


def test_the_same_in_any_order_are_the_same() -> None:
    found = compare_values(frame(ROWS), frame(dict(reversed(ROWS.items()))), KINDS)
    assert found == ValuesFromRows(sums={"paid": Decimal("-2.25"), "count": 3}, differing_count=0)
    assert isinstance(found.sums["count"], int)


@pytest.mark.parametrize(
    "stored",
    [
        {**ROWS, "b": ("-3.5001", 1, None)},
        {**ROWS, "b": ("-3.5", 2, None)},
        {**ROWS, "b": ("-3.5", 1, "z")},
        {**ROWS, "b": (None, 1, None)},
        {name: row for name, row in ROWS.items() if name != "b"},
    ],
)
def test_a_value_that_is_another_or_is_not_there_is_named(stored: dict[str, tuple[str | None, int | None, str | None]]) -> None:
    for rows, found in ((ROWS, compare_values(frame(ROWS), frame(stored), KINDS)),
                        (stored, compare_values(frame(stored), frame(ROWS), KINDS))):  # fmt: skip
        assert (found.differing_count, found.sample) == (1, ("b",))
        assert found.sums["count"] == sum(row[1] or 0 for row in rows.values())


def test_nothing_beside_nothing_is_the_same() -> None:
    assert compare_values(frame({}), frame({}), KINDS) == ValuesFromRows(sums={"paid": Decimal(0), "count": 0}, differing_count=0)


def test_no_more_are_named_than_can_be_read() -> None:
    many: dict[str, tuple[str | None, int | None, str | None]] = {f"{n:02}": ("1", n, "x") for n in range(20)}
    found = compare_values(frame(many), frame({}), KINDS)
    assert (found.differing_count, found.sample) == (20, ("00", "01", "02", "03", "04"))
    both = united([replace_sample(found, "9"), replace_sample(found, "0")])
    assert both.differing_count == 40
    assert len(both.sample) == NAMED


def replace_sample(found: ValuesFromRows, prefix: str) -> ValuesFromRows:
    """The same with other references."""
    sample = tuple(prefix + one for one in found.sample)
    return ValuesFromRows(sums=found.sums, differing_count=found.differing_count, sample=sample)


@given(st.lists(st.decimals(-(10**15) + 1, 10**15 - 1, places=4, allow_nan=False, allow_infinity=False), min_size=1))
def test_parts_are_added_to_the_last_digit(amounts: list[Decimal]) -> None:
    added = united(ValuesFromRows(sums={"paid": one, "count": 1}, differing_count=0) for one in amounts).sums
    assert (Fraction(added["paid"]), added["count"]) == (sum(map(Fraction, amounts)), len(amounts))
