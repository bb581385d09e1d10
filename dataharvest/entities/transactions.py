"""Transactions: amounts booked on an account under a keyword such as DEPOSIT or TAX."""

from dataharvest.entities.model import Column, Entity, Kind

ENTITY = Entity(
    name="transactions",
    natural_key="transaction_reference",
    columns=(
        Column(name="record_id", kind=Kind.DIGITS),
        Column(name="account_number", kind=Kind.KEY, aliases=("accout_number",)),
        Column(name="transaction_reference", kind=Kind.KEY),
        Column(name="amount", kind=Kind.MONEY),
        # An unknown keyword is data, not an error.
        Column(name="keyword", kind=Kind.TEXT),
    ),
)
