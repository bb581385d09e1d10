"""Which logic has computed what, in PostgreSQL."""

from datetime import date

from dataharvest.adapters.postgres.connection import Database
from dataharvest.deliveries import SetKey
from dataharvest.quarantine import Signature
from dataharvest.replaying.recompute import ComputedSet, Recomputed
from dataharvest.sql import queries

_SQL = queries("recompute")


class PostgresComputedSets:
    """The port ``ComputedSets`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, transformer: str, *, tenant: str | None, day: date | None) -> list[ComputedSet]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["computed_sets"], transformer, tenant, day)
        return [
            ComputedSet(
                key=SetKey(row["tenant"], row["business_date"]),
                version=row["version"],
                state=row["state"],
                is_due=row["is_due"],
                logic_versions=tuple(row["logic_versions"]),
                batch_count=row["batch_count"],
            )
            for row in rows
        ]

    async def history(self, transformer: str | None, *, tenant: str | None, day: date | None, limit: int) -> list[Recomputed]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["history"], transformer, tenant, day, limit)
        return [
            Recomputed(
                key=SetKey(row["tenant"], row["business_date"]),
                transformer=row["transformer"],
                logic_version=row["logic_version"],
                version=row["version"],
                by=Signature(who=row["who"], why=row["why"]),
                at=row["recomputed_at"],
            )
            for row in rows
        ]
