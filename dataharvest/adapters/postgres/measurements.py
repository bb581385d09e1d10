"""What the gauges say of sets, quarantine and dead letters, from PostgreSQL."""

from collections.abc import Collection
from datetime import timedelta

from dataharvest.adapters.postgres.connection import Database
from dataharvest.measuring import Measured
from dataharvest.sql import queries

_SQL = queries("measurements")


class PostgresMeasurements:
    """The port ``Measurements`` on PostgreSQL."""

    def __init__(self, database: Database, *, required: Collection[str]) -> None:
        self._database = database
        self._required = sorted(required)

    async def measure(self, *, window: timedelta) -> Measured:
        """See the port."""
        async with self._database.connection() as connection:
            now = await connection.fetchval(_SQL["clock"])
            since = (now - window).date()
            states = await connection.fetch(_SQL["set_states"], since, self._required)
            [late] = await connection.fetch(_SQL["lateness"], since)
            [totals] = await connection.fetch(_SQL["totals"])
        return Measured(sets={row["state"]: row["set_count"] for row in states}, **late, **totals)
