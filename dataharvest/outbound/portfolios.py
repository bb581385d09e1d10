"""The message per portfolio: balance of its account, number of transactions and sum of deposits."""

import polars as pl

from dataharvest.outbound.model import outbound


@outbound(
    per="portfolio",
    reads={"portfolios": ("portfolio_reference", "account_number"), "accounts": ("account_number", "cash_balance", "currency")},
    takes={"transactions": ("number_of_transactions",), "sum_of_deposits": ("sum_of_deposits",)},
    fields=("cash_balance", "currency", "number_of_transactions", "sum_of_deposits"),
)
def portfolios(portfolios: pl.DataFrame, accounts: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """One row per portfolio of the batch."""
    owned = portfolios.rename({"portfolio_reference": "reference"}).join(accounts, on="account_number")
    return owned.join(values, on="reference")
