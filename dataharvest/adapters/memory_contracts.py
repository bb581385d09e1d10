"""Contracts kept in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections import defaultdict

from dataharvest.contracts import DEFAULT, Contract
from dataharvest.errors import Rejected


class MemoryContracts:
    """The port ``Contracts`` without a server."""

    def __init__(self) -> None:
        self._versions: defaultdict[str, list[Contract]] = defaultdict(lambda: [DEFAULT])

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """See the port."""
        versions = self._versions[tenant]
        return len(versions) - 1, versions[-1]

    async def version(self, tenant: str, number: int) -> Contract:
        """See the port."""
        versions = self._versions[tenant]
        if number not in range(len(versions)):
            message = f"Contract version {number} of {tenant} is not stored."
            raise Rejected(message, rule="unknown_contract", tenant=tenant, version=number)
        return versions[number]

    async def apply(self, tenant: str, contract: Contract) -> int:
        """See the port."""
        versions = self._versions[tenant]
        if contract != versions[-1]:
            versions.append(contract)
        return len(versions) - 1
