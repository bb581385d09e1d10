"""Portfolios: each belongs to one account and one client."""

from dataharvest.entities.model import Column, Entity, Kind

ENTITY = Entity(
    name="portfolios",
    natural_key="portfolio_reference",
    columns=(
        Column(name="record_id", kind=Kind.DIGITS),
        Column(name="account_number", kind=Kind.KEY, aliases=("accout_number",)),
        Column(name="portfolio_reference", kind=Kind.UUID),
        Column(name="client_reference", kind=Kind.UUID),
        Column(name="agent_code", kind=Kind.TEXT, mandatory=False),
    ),
)
