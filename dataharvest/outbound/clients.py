"""The message per client: allowance, taxes paid and what is left."""

import polars as pl

from dataharvest.outbound.model import outbound


@outbound(
    per="client",
    reads={"clients": ("client_reference", "tax_free_allowance")},
    takes={"tax": ("taxes_paid", "tax_free_allowance_left")},
    fields=("tax_free_allowance", "taxes_paid", "tax_free_allowance_left"),
)
def clients(clients: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """One row per client of the batch."""
    return clients.rename({"client_reference": "reference"}).join(values, on="reference")
