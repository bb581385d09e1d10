"""That values which the rows do not give are found, whichever way they differ."""

from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.statement import Unlike, ValuesFromRows
from dataharvest.rules.values_compared import NAMED, compare_values, united, united_values
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
    assert found == ValuesFromRows(sums={"paid": Decimal("-2.25"), "count": 3}, unlike=Unlike())
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
        assert found.unlike == Unlike(count=1, sample=("b",))
        assert found.sums["count"] == sum(row[1] or 0 for row in rows.values())


def test_nothing_beside_nothing_is_the_same() -> None:
    assert compare_values(frame({}), frame({}), KINDS) == ValuesFromRows(sums={"paid": Decimal(0), "count": 0}, unlike=Unlike())


def test_no_more_are_named_than_can_be_read() -> None:
    many: dict[str, tuple[str | None, int | None, str | None]] = {f"{n:02}": ("1", n, "x") for n in range(20)}
    found = compare_values(frame(many), frame({}), KINDS).unlike
    assert found == Unlike(count=20, sample=("00", "01", "02", "03", "04"))
    both = united([found, Unlike(count=2, sample=("000", "030"))])
    assert both == Unlike(count=22, sample=("00", "000", "01", "02", "03"))
    assert len(both.sample) == NAMED


@pytest.mark.parametrize(("kind", "number"), [(pl.UInt32(), 2**31), (pl.Int32(), 2 * 10**9), (pl.Int64(), 2**62)])
def test_a_sum_does_not_begin_anew_where_its_type_ends(kind: pl.DataType, number: int) -> None:
    references = ["a", "b", "c"]
    given = pl.DataFrame({"reference": references, "x": pl.Series([number] * 3, dtype=kind)})
    assert compare_values(given, given, {"x": kind}) == ValuesFromRows(sums={"x": 3 * number}, unlike=Unlike())


def test_values_are_compared_as_they_are_read_again_and_summed_as_they_are_given() -> None:
    """More digits than declared, and what is no number."""
    digits = pl.Series(["0.33335000", "1.00000000"]).cast(pl.Decimal(38, 8))
    rates = {"rate": [0.25, float("nan")], "rate_stored": [float("inf"), 3.0]}
    given = pl.DataFrame({"reference": ["a", "b"], "paid": digits, **rates})
    read = {"paid": pl.Series(["0.33335", "1.00"]).cast(AMOUNT), "rate": [0.25, None], "rate_stored": [None, 3.0]}
    kinds: dict[str, pl.DataType] = {"paid": AMOUNT, "rate": pl.Float64(), "rate_stored": pl.Float64()}
    found = compare_values(given, pl.DataFrame({"reference": ["a", "b"], **read}), kinds)
    assert found == ValuesFromRows(sums={"paid": Decimal("1.33335")}, unlike=Unlike())


@given(st.lists(st.decimals(-(10**15) + 1, 10**15 - 1, places=4, allow_nan=False, allow_infinity=False), min_size=1))
def test_parts_are_added_to_the_last_digit(amounts: list[Decimal]) -> None:
    added = united_values([ValuesFromRows(sums={"paid": one, "count": 1}, unlike=Unlike()) for one in amounts]).sums
    assert (Fraction(added["paid"]), added["count"]) == (sum(map(Fraction, amounts)), len(amounts))
