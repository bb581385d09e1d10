"""What the stages need of contracts."""

from typing import Protocol

from dataharvest.contracts import Contract


class Contracts(Protocol):
    """Contracts by tenant, numbered from 1 and never changed; version 0 are the defaults."""

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """Number and content of the newest; 0 and the defaults for a tenant without one.

        Raises:
            ContractTrouble: rule ``invalid_contract``: it was stored by a version of the program that knew other fields or
                entities.
        """

    async def version(self, tenant: str, number: int) -> Contract:
        """One version.

        Raises:
            ContractTrouble: rule ``unknown_contract`` when it is not stored; ``invalid_contract`` as for `current`.
        """

    async def apply(self, tenant: str, contract: Contract) -> int:
        """Store the next version and return its number; one equal to the newest is not stored again.

        Deliveries that were registered under a version that can't be read any more are read under this one, unless chunks of
        them are stored that it would read differently.
        """
