"""Taxes paid and tax-free allowance left per client."""

import polars as pl

from dataharvest.transformers.model import AMOUNT, transformer


@transformer(
    per="client",
    reads={
        "clients": ("client_reference", "tax_free_allowance"),
        "portfolios": ("client_reference", "account_number"),
        "accounts": ("account_number", "taxes_paid"),
    },
    values={"taxes_paid": AMOUNT, "tax_free_allowance_left": AMOUNT},
)
def tax(clients: pl.DataFrame, portfolios: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Taxes paid on the client's distinct accounts, and what they leave of the allowance, never below 0."""
    # Two portfolios may share an account; its taxes count once.
    owned = portfolios.select("client_reference", "account_number").unique()
    paid = owned.join(accounts, on="account_number").group_by("client_reference").agg(pl.col("taxes_paid").sum())
    joined = clients.join(paid, on="client_reference", how="left").with_columns(pl.col("taxes_paid").fill_null(0))
    left = pl.col("tax_free_allowance") - pl.col("taxes_paid")
    return joined.select(
        reference="client_reference",
        taxes_paid="taxes_paid",
        tax_free_allowance_left=pl.when(left > 0).then(left).otherwise(pl.lit(0).cast(AMOUNT)),
    )
