"""Money as text: exact, two decimals at least."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.money import money_column, money_text

amounts = st.decimals(min_value=-(10**14), max_value=10**14, allow_nan=False, allow_infinity=False, places=8)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("5000", "5000.00"),
        ("1.2340", "1.234"),
        ("0", "0.00"),
        ("-0.00", "0.00"),
        ("0E-8", "0.00"),
        ("1E+3", "1000.00"),
        ("-0.5", "-0.50"),
        ("0.0001", "0.0001"),
        ("1E-7", "0.0000001"),
        ("100", "100.00"),
        ("999999999999999.9999", "999999999999999.9999"),
    ],
)
def test_an_amount_has_all_its_digits_and_two_decimals(amount: str, text: str) -> None:
    assert money_text(Decimal(amount)) == text


@given(amount=amounts)
def test_the_text_is_the_amount(amount: Decimal) -> None:
    text = money_text(amount)

    assert Decimal(text) == amount
    assert len(text.partition(".")[2]) >= 2
    assert not text.startswith("-0.00") or amount


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_number_has_no_text(amount: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        money_text(Decimal(amount))


@given(values=st.lists(st.none() | amounts, max_size=20), scale=st.sampled_from([0, 1, 2, 4, 8]))
def test_a_column_reads_like_its_amounts(values: list[Decimal | None], scale: int) -> None:
    rounded = [value if value is None else round(value, scale) for value in values]
    frame = pl.DataFrame({"amount": pl.Series(rounded, dtype=pl.Decimal(38, scale))})

    texts = frame.select(money_column(pl.col("amount")))["amount"].to_list()

    assert texts == [None if value is None else money_text(value) for value in rounded]
