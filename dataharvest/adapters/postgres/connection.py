"""The pool, and the one place that turns the driver's errors into ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from dataharvest.adapters.postgres.frozen import FrozenSessions, end_frozen_sessions
from dataharvest.errors import Misconfigured, Rejected, Unavailable

Connection = PoolConnectionProxy

NO_SETTINGS: Mapping[str, str] = {}
PLANNED_ONCE: Mapping[str, str] = {"plan_cache_mode": "force_generic_plan"}
"""For processes that ask the same about one set, delivery or chunk after the other: by default a session plans each statement
five times before it keeps a plan, and dozens of statements in a dozen sessions take longer to plan than to answer. Whoever goes
through rows sets it back for the transaction."""

_UNAVAILABLE_CLASSES = ("08", "40", "53", "57", "58")
_LOCK_NOT_AVAILABLE = "55P03"
_REJECTED_CLASSES = ("22", "23")
_MISCONFIGURED_CLASSES = ("28", "3D")
"""Not let in, or no such database."""

_BROKEN_CONNECTION = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""The driver calls a connection that breaks in the middle of a statement an internal error of its own."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn the driver's errors into ours by SQLSTATE; anything else is a bug and passes as it is."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        # The driver counts it among the interface errors; waiting would not help.
        raise Misconfigured(f"DATAHARVEST_DATABASE_URL can't be used: {error}.") from error
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        # Only the first part of the text: a detail may quote a row.
        if state.startswith(_UNAVAILABLE_CLASSES) or state == _LOCK_NOT_AVAILABLE:
            raise Unavailable(f"PostgreSQL: {error.args[0]}", sqlstate=state) from error
        if state.startswith(_REJECTED_CLASSES):
            # The driver's text may quote a row; only the state and the constraint may be shown.
            raise Rejected(f"PostgreSQL refuses the data (SQLSTATE {state})", rule=f"sqlstate_{state}") from error
        if state.startswith(_MISCONFIGURED_CLASSES):
            raise Misconfigured(f"PostgreSQL: {error.args[0]}; see DATAHARVEST_DATABASE_URL.") from error
        raise
    except _BROKEN_CONNECTION as error:
        raise Unavailable(f"PostgreSQL: {type(error).__name__}: {error}") from error


class Database:
    """A pool of connections that is opened once and shared by the adapters.

    Args:
        url: the database.
        pool_size: connections, at most.
        application_name: who is asking, for ``pg_stat_activity``.
        settings: of every session, besides those that all have.
    """

    def __init__(self, url: str, *, pool_size: int, application_name: str, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self._url = url
        self._pool_size = pool_size
        self._settings = {"application_name": application_name, "lock_timeout": "5s", "timezone": "UTC", **settings}
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._frozen = FrozenSessions()

    async def open(self) -> None:
        """Connect; Unavailable when PostgreSQL is not there. Two first uses at once open one pool."""
        async with self._opening:
            if self._pool is None:
                self._pool = await self._connect()

    async def _connect(self) -> asyncpg.Pool:
        async with translated():
            return await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._pool_size,
                init=_prepare,
                reset=_leave_as_it_is,
                server_settings=self._settings,
                timeout=10,
            )

    async def close(self) -> None:
        """End all connections."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection; every statement on its own."""
        if self._pool is None:
            await self.open()
        assert self._pool is not None
        try:
            async with translated(), self._pool.acquire(timeout=30) as connection:
                yield connection
        except Unavailable as outage:
            if outage.details.get("sqlstate") == _LOCK_NOT_AVAILABLE and self._frozen.refused():
                async with translated(), self._pool.acquire(timeout=30) as another:
                    await end_frozen_sessions(another)
            raise

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection that may be changed for longer than a transaction: it listens to nothing and holds no lock afterwards."""
        async with self.connection() as connection:
            try:
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.reset()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits when the block ends without an error."""
        async with self.connection() as connection, connection.transaction():
            yield connection


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """No round trip before others may have the connection: whatever outlasts a transaction is done in a `session`."""


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
