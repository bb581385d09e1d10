"""What the workers remember of themselves: runs and attempts."""

from dataharvest.adapters.postgres.connection import Database
from dataharvest.ports import Position
from dataharvest.sql import queries

_SQL = queries("operations")


class PostgresJournal:
    """The port ``AttemptJournal`` on PostgreSQL."""

    def __init__(self, database: Database, *, run_id: str) -> None:
        self._database = database
        self._run_id = run_id

    async def start_run(self) -> None:
        """Note that this worker runs."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["start_run"], self._run_id)

    async def end_run(self) -> None:
        """Note that this worker ends as it should."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["end_run"], self._run_id)

    async def load(self) -> tuple[dict[Position, int], bool]:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["find_dead_runs"], self._run_id)
            dead_lately: bool = await connection.fetchval(_SQL["any_dead_run_lately"])
            await connection.execute(_SQL["forget_old_attempts"])
            rows = await connection.fetch(_SQL["attempts"])
        known = {Position(*tuple(row)[:3]): row["attempt_count"] for row in rows}
        return known, dead_lately

    async def add(self, position: Position, *, error: str | None) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["add_attempt"], *position, error)

    async def remove(self, position: Position) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["remove_attempt"], *position)

    async def given_up(self) -> set[bytes]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["given_up_chunks"])
        return {f"{row['delivery_id']}:{row['chunk_index']}".encode() for row in rows}
