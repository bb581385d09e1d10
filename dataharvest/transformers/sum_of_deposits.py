"""Sum of deposits per portfolio."""

import polars as pl

from dataharvest.transformers.model import AMOUNT, transformer


@transformer(
    per="portfolio",
    reads={"portfolios": ("portfolio_reference", "account_number"), "transactions": ("account_number", "amount", "keyword")},
    values={"sum_of_deposits": AMOUNT},
)
def sum_of_deposits(portfolios: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
    """Sum of the amounts booked as DEPOSIT on the portfolio's account; 0 without any."""
    deposits = transactions.filter(pl.col("keyword") == "DEPOSIT").group_by("account_number").agg(pl.col("amount").sum())
    return portfolios.join(deposits, on="account_number", how="left").select(
        reference="portfolio_reference", sum_of_deposits=pl.col("amount").fill_null(0)
    )
