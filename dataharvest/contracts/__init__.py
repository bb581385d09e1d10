"""Contracts: what one tenant's files look like and which rules hold for them; without one the defaults hold."""

from dataharvest.contracts.comparing import difference
from dataharvest.contracts.model import DEFAULT, Calendar, Contract, Cutoff, Webhook
from dataharvest.contracts.reading import InvalidContract, Mistake, read_contract

__all__ = ["DEFAULT", "Calendar", "Contract", "Cutoff", "InvalidContract", "Mistake", "Webhook", "difference", "read_contract"]
