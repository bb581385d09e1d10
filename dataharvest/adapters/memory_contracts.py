"""Contracts kept in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections import defaultdict

from dataharvest.contracts import DEFAULT, Contract
from dataharvest.errors import ContractTrouble


class MemoryContracts:
    """The port ``Contracts`` without a server."""

    def __init__(self) -> None:
        self.unreadable: set[tuple[str, int]] = set()
        """Versions by tenant that are taken for ones of another program; for tests."""
        self._versions: defaultdict[str, list[Contract]] = defaultdict(lambda: [DEFAULT])

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """See the port."""
        number = self.newest(tenant)
        return number, await self.version(tenant, number)

    def newest(self, tenant: str) -> int:
        """Number of the tenant's newest contract, 0 where none is stored."""
        return len(self._versions[tenant]) - 1

    async def version(self, tenant: str, number: int) -> Contract:
        """See the port."""
        versions = self._versions[tenant]
        if number not in range(len(versions)):
            message = f"Contract version {number} of {tenant} is not stored."
            raise ContractTrouble(message, rule="unknown_contract", tenant=tenant, version=number)
        if (tenant, number) in self.unreadable:
            message = f"Contract version {number} of {tenant} can't be read."
            raise ContractTrouble(message, rule="invalid_contract", tenant=tenant, version=number)
        return versions[number]

    async def apply(self, tenant: str, contract: Contract) -> int:
        """See the port."""
        versions = self._versions[tenant]
        if contract != versions[-1] or (tenant, len(versions) - 1) in self.unreadable:
            versions.append(contract)
        return len(versions) - 1
