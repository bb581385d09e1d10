"""Number of transactions per portfolio."""

import polars as pl

from dataharvest.transformers.model import COUNT, transformer


@transformer(
    per="portfolio",
    reads={"portfolios": ("portfolio_reference", "account_number"), "transactions": ("account_number",)},
    values={"number_of_transactions": COUNT},
)
def transactions(portfolios: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
    """Number of all transactions of the portfolio's account, whatever their keyword."""
    counts = transactions.group_by("account_number").agg(count=pl.len().cast(pl.Int64))
    return portfolios.join(counts, on="account_number", how="left").select(
        reference="portfolio_reference", number_of_transactions=pl.col("count").fill_null(0)
    )
