"""Accounts: balance, currency and taxes paid."""

from dataharvest.entities.model import Column, Entity, Kind

ENTITY = Entity(
    name="accounts",
    natural_key="account_number",
    columns=(
        Column(name="record_id", kind=Kind.DIGITS),
        # The first senders' files misspell the column; they are still in use.
        Column(name="account_number", kind=Kind.KEY, aliases=("accout_number",)),
        Column(name="cash_balance", kind=Kind.MONEY),
        Column(name="currency", kind=Kind.CURRENCY),
        Column(name="taxes_paid", kind=Kind.MONEY),
    ),
)
