"""How an exact amount is written: at least two decimals, no more than it has."""

from decimal import Decimal

import polars as pl


def money_text(amount: Decimal) -> str:
    """The amount with all its digits and at least two decimals: 5000 gives "5000.00", 1.2340 gives "1.234".

    Never an exponent, never a negative zero.

    Raises:
        ValueError: the amount is NaN or infinite.
    """
    if not amount.is_finite():
        raise ValueError("money must be finite")
    if not amount:
        return "0.00"
    whole, _, decimals = format(amount, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def money_column(expression: pl.Expr) -> pl.Expr:
    """What `money_text` gives, for every amount of a Decimal column; null stays null."""
    text = expression.cast(pl.String)
    with_point = pl.when(text.str.contains(".", literal=True)).then(text).otherwise(text + ".")
    return (with_point + "00").str.replace(r"(\.\d\d\d*?)0*$", "$1")
