"""What wakes the splitters: a notification of PostgreSQL, or the end of the connection that listens for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from dataharvest.adapters.postgres.connection import Database, translated

_CHANNEL = "delivery_registered"


@asynccontextmanager
async def wake_ups(database: Database) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever a delivery was registered, and when nobody could tell any more."""
    woken = asyncio.Event()

    def wake(*_: object) -> None:
        woken.set()

    async with database.session() as connection:
        await connection.add_listener(_CHANNEL, wake)
        connection.add_termination_listener(wake)
        try:
            yield woken
        finally:
            # A connection that is gone has no listener left to remove.
            with suppress(asyncpg.InterfaceError):
                connection.remove_termination_listener(wake)
                async with translated():
                    await connection.remove_listener(_CHANNEL, wake)
