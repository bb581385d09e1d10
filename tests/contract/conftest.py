"""A ledger for each contract test: in memory, and in a database of the embedded PostgreSQL that nobody else uses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest

from dataharvest.adapters.postgres.schema import migrate
from tests.contract.ledgers import Ledger, memory_ledger, postgres_ledger


@pytest.fixture(scope="session")
def ledger_url(stack_environment: dict[str, str]) -> Iterator[str]:
    """A migrated database of its own: a lease is taken from whatever is waiting in the whole database."""
    server = stack_environment["DATAHARVEST_DATABASE_URL"]
    name = f"contract_{uuid4().hex}"
    url = f"{server.rpartition('/')[0]}/{name}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(url))
    yield url
    asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["memory", "postgres"])
def ledger_place(request: pytest.FixtureRequest) -> str | None:
    """Where the database is; None for the ledger in memory, which needs no server."""
    return None if request.param == "memory" else str(request.getfixturevalue("ledger_url"))


@pytest.fixture
async def ledger(ledger_place: str | None) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    if ledger_place is None:
        yield memory_ledger()
        return
    async with postgres_ledger(ledger_place) as real:
        yield real


@pytest.fixture
async def real_ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """An empty ledger in PostgreSQL, for what only a database can do."""
    async with postgres_ledger(ledger_url) as real:
        yield real


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
