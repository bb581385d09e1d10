"""Contracts in PostgreSQL: numbered from 1 for each tenant, never changed once stored."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.contracts import DEFAULT, Contract
from dataharvest.errors import ContractTrouble
from dataharvest.sql import queries

_SQL = queries("contracts")
_READING = ("header_aliases", "delimiter", "encoding", "decimal_mark")
"""Fields that say which records a file holds; the others say what is made of them."""


class PostgresContracts:
    """The port ``Contracts`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, int], Contract] = {}

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """See the port."""
        async with self._database.connection() as connection:
            return await _current(connection, tenant)

    async def version(self, tenant: str, number: int) -> Contract:
        """See the port."""
        if (known := self._known_version(tenant, number)) is not None:
            return known
        async with self._database.connection() as connection:
            return await self.version_on(connection, tenant, number)

    async def version_on(self, connection: Connection, tenant: str, number: int) -> Contract:
        """The same for somebody who has a connection: to wait for another one, holding this, could be to wait for ever."""
        if (known := self._known_version(tenant, number)) is not None:
            return known
        content = await connection.fetchval(_SQL["version"], tenant, number)
        found = self._known[tenant, number] = _contract(content, tenant=tenant, number=number)
        return found

    def _known_version(self, tenant: str, number: int) -> Contract | None:
        return DEFAULT if number == 0 else self._known.get((tenant, number))

    async def apply(self, tenant: str, contract: Contract) -> int:
        """See the port. Set versions that were blocked and would not be under this contract go on."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_tenant"], tenant)
            row = await connection.fetchrow(_SQL["current"], tenant)
            number, stored = (int(row["version"]), _sound(row["content"])) if row else (0, DEFAULT)
            if contract != stored:
                number += 1
                await connection.execute(_SQL["insert"], tenant, number, contract.model_dump(mode="json"))
                await _take_over(connection, tenant, number, contract)
            mixed_currency_blocks = contract.mixed_currency == "block"
            await connection.execute(_SQL["unblock"], tenant, list(contract.orphans_block), mixed_currency_blocks)
        return number


async def newest_contracts(connection: Connection, tenants: Iterable[str]) -> dict[str, Contract]:
    """The newest contract of each tenant that has one; one that can't be read any more is left out."""
    rows = await connection.fetch(_SQL["newest"], list(tenants))
    found = {row["tenant"]: _sound(row["content"]) for row in rows}
    return {tenant: contract for tenant, contract in found.items() if contract}


async def unreadable_contracts(connection: Connection, tenant: str | None) -> dict[tuple[str, int], str]:
    """Why, by tenant and version, for contracts in use that this version of the program can't read: newest or being read under.

    ``tenant``: whose; None for everybody's.
    """
    rows = await connection.fetch(_SQL["in_use"], tenant)
    return {
        (row["tenant"], row["version"]): _complaint(row["content"], tenant=row["tenant"], number=row["version"])
        for row in rows
        if _sound(row["content"]) is None
    }


async def _take_over(connection: Connection, tenant: str, number: int, contract: Contract) -> None:
    """Have what waits for a contract that can't be read any more read under the new one."""
    rows = await connection.fetch(_SQL["older"], tenant, number)
    if unreadable := [row["version"] for row in rows if _sound(row["content"]) is None]:
        said = contract.model_dump(mode="json")
        await connection.execute(_SQL["take_over"], tenant, unreadable, number, list(_READING), said)
        await connection.execute(_SQL["wake_splitters"])


def _sound(content: dict[str, Any]) -> Contract | None:
    # One that can't be read any more has to be replaceable.
    try:
        return Contract.model_validate(content)
    except ValidationError:
        return None


async def _current(connection: Connection, tenant: str) -> tuple[int, Contract]:
    row = await connection.fetchrow(_SQL["current"], tenant)
    if row is None:
        return 0, DEFAULT
    return row["version"], _contract(row["content"], tenant=tenant, number=row["version"])


def _contract(content: dict[str, Any] | None, *, tenant: str, number: int) -> Contract:
    if content is None:
        message = f"{_place(tenant, number)} is not stored."
        raise ContractTrouble(message, rule="unknown_contract", tenant=tenant, version=number)
    found = _sound(content)
    if found is None:
        message = _complaint(content, tenant=tenant, number=number)
        raise ContractTrouble(message, rule="invalid_contract", tenant=tenant, version=number)
    return found


def _complaint(content: dict[str, Any], *, tenant: str, number: int) -> str:
    # It was sound when it was stored: an entity or a field that it names has gone since.
    try:
        Contract.model_validate(content)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        return f"{_place(tenant, number)} says what this version of the program does not know: {fields}."
    raise AssertionError("there is nothing to complain about")


def _place(tenant: str, number: int) -> str:
    return f"Contract version {number} of {tenant}"
