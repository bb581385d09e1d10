"""Clients: the persons who own portfolios, and their tax-free allowance."""

from dataharvest.entities.model import Column, Entity, Kind

ENTITY = Entity(
    name="clients",
    natural_key="client_reference",
    columns=(
        Column(name="record_id", kind=Kind.DIGITS),
        Column(name="first_name", kind=Kind.TEXT, mandatory=False, personal=True),
        Column(name="last_name", kind=Kind.TEXT, mandatory=False, personal=True),
        Column(name="client_reference", kind=Kind.UUID),
        Column(name="tax_free_allowance", kind=Kind.MONEY),
    ),
)
