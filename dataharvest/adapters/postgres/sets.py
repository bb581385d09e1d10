"""Sets in PostgreSQL: progress from the ledger, versions, facts and readiness."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.manifests import delivery_totals, newest_manifest, newest_manifest_put_at
from dataharvest.adapters.postgres.notifications import add_notification
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey, set_is_publishing
from dataharvest.quarantine import Signature
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.needs import Rule, persisted
from dataharvest.rules.notifying import Note
from dataharvest.rules.progress import SetProgress, rule_key
from dataharvest.rules.ranges import Ranges, union
from dataharvest.rules.versions import DeliveryView, SetView, VersionView
from dataharvest.sql import queries

_SQL = queries("sets")


class PostgresSets:
    """The port ``Sets`` on PostgreSQL."""

    def __init__(
        self, database: Database, *, contracts: PostgresContracts | None = None, summaries: Summaries | None = None
    ) -> None:
        self._database = database
        self._contracts = contracts or PostgresContracts(database)
        self._summaries = summaries or Summaries(database)

    async def progress(self, key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        """See the port."""
        provided = {rule.name: rule.provides for rule in rules}
        async with self._database.connection() as connection:
            found: Any = await connection.fetchrow(_SQL["progress"], *key, list(provided), list(provided.values()))
        return {
            "deliveries": {
                str(one["delivery_id"]): {"entity": one["entity"], "chunks": one["chunks"], "stored": one["stored"]}
                for one in found["deliveries"]
            },
            "rules": {
                rule_key(one["version"], one["rule"]): {"count": one["batch_count"], "done": _ranges(one["done"] or [])}
                for one in found["rules"]
            },
        }

    async def confirm_done(self, key: SetKey, version: int, rule: Rule) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["confirm_done"], *key, version, rule.name, rule.provides)

    @asynccontextmanager
    async def locked(self, key: SetKey, *, reads_rows: bool = False) -> AsyncIterator["LockedSet"]:
        """See the port."""
        if reads_rows:
            await self._summaries.refresh()
        async with self._database.transaction() as connection:
            await connection.fetchval(_SQL["lock_set"], *key)
            yield LockedSet(connection, key, self._contracts)

    async def sets_due(self, *, settle_s: float) -> list[SetKey]:
        """See the port."""
        async with self._database.connection() as connection:
            return [SetKey(*row) for row in await connection.fetch(_SQL["sets_due"], settle_s)]

    async def unsent_readiness(self, key: SetKey) -> list[tuple[int, str]]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["unsent_readiness"], *key)
        return [(row["version"], row["rule"]) for row in rows]

    async def mark_readiness_sent(self, key: SetKey, sent: Sequence[tuple[int, str]]) -> None:
        """See the port."""
        versions, rules = [version for version, _ in sent], [rule for _, rule in sent]
        async with self._database.connection() as connection:
            await connection.execute(_SQL["readiness_sent"], *key, versions, rules)


def version_view(row: Any) -> VersionView:
    """A version of a set, from a row or JSON object with its columns."""
    return VersionView(
        version=row["version"],
        state=row["state"],
        deliveries=row["deliveries"],
        facts=frozenset(row["facts"]),
        announced=frozenset(row["announced"]),
        edition=row["edition"],
    )


class LockedSet:
    """A set whose row is locked until the block ends."""

    def __init__(self, connection: Connection, key: SetKey, contracts: PostgresContracts) -> None:
        self.connection = connection
        self._key = key
        self._contracts = contracts

    async def view(self) -> SetView:
        """See the port."""
        row: Any = await self.connection.fetchrow(_SQL["view"], *self._key)
        return SetView(
            deliveries=tuple(
                DeliveryView(**{**one, "last_modified": datetime.fromisoformat(one["last_modified"])})
                for one in row["deliveries"]
            ),
            versions=tuple(map(version_view, row["versions"])),
            since_seal_s=row["since_seal_s"],
            edition=row["edition"],
            has_manifest=row["has_manifest"],
            is_totals_note_due=row["is_totals_note_due"],
            has_unsent=row["has_unsent"],
            has_unneeded=row["has_unneeded"],
            contract_version=row["contract_version"],
        )

    async def contract_of(self, tenant: str, number: int) -> Contract:
        """See the port."""
        return await self._contracts.version_on(self.connection, tenant, number)

    async def manifest(self) -> Manifest | None:
        """See the port."""
        return await newest_manifest(self.connection, self._key)

    async def manifest_put_at(self) -> datetime | None:
        """See the port."""
        return await newest_manifest_put_at(self.connection, self._key)

    async def totals(self, delivery_ids: Collection[int]) -> dict[str, DeliveryTotals]:
        """See the port."""
        return await delivery_totals(self.connection, delivery_ids)

    async def set_totals_problem(self, problem: Mapping[str, Any] | None) -> None:
        """See the port."""
        await self.connection.execute(_SQL["set_totals_problem"], *self._key, problem)

    async def create_version(self, version: int, deliveries: Mapping[str, int], *, waived: Collection[str] = ()) -> float:
        """See the port."""
        bases: list[int | None] = []
        if version > 1:
            await self.connection.execute(_SQL["lock_versions"], *self._key)
            bases = [row["base_version_id"] for row in await self.connection.fetch(_SQL["cancel_unpublished"], *self._key)]
        facts = [persisted(entity) for entity in (*deliveries, *waived)]
        chosen = list(deliveries.values())
        arguments = (version, bases, list(deliveries), chosen, facts)
        waited_s: float = await self.connection.fetchval(_SQL["create_version"], *self._key, *arguments)
        await self.connection.execute(_SQL["supersede"], chosen)
        await self.connection.execute(_SQL["supersede_stuck"], chosen)
        return waited_s

    async def traceparents(self, delivery_ids: Collection[int]) -> list[str]:
        """See the port."""
        return [row["traceparent"] for row in await self.connection.fetch(_SQL["traceparents"], list(delivery_ids))]

    async def note_trace(self, version: int, traceparent: str) -> None:
        """See the port."""
        await self.connection.execute(_SQL["note_trace"], *self._key, version, traceparent)

    async def notify(self, note: Note) -> None:
        """See the port."""
        await add_notification(self.connection, self._key, note)

    async def raise_edition(self) -> int:
        """See the port."""
        return await raise_edition(self.connection, self._key)

    async def note_recompute(self, transformer: str, *, logic_version: int, by: Signature) -> None:
        """See the port."""
        await self.connection.execute(_SQL["note_recompute"], *self._key, transformer, logic_version, by.who, by.why)

    async def announce(self, version: int, *rules: Rule) -> None:
        """See the port."""
        await self.connection.execute(_SQL["add_readiness"], *self._key, version, [rule.name for rule in rules])

    async def set_published(self, version: int) -> float | None:
        """See the port."""
        waited_s: float | None = await self.connection.fetchval(_SQL["set_published"], *self._key, version)
        return waited_s


def shared(within: object) -> AbstractAsyncContextManager[Connection]:
    """The transaction in which a set is locked, for what else happens in it."""
    assert isinstance(within, LockedSet), "the set was locked in the same database"
    return nullcontext(within.connection)


async def raise_edition(connection: Connection, key: SetKey) -> int:
    """As the port says, for whoever has locked the set."""
    await connection.execute(_SQL["lock_versions"], *key)
    await connection.execute(_SQL["cancel_unpublished"], *key)
    version = await connection.fetchval(_SQL["publishing_version"], *key)
    if version is not None:
        raise set_is_publishing(key, version)
    edition: int = await connection.fetchval(_SQL["raise_edition"], *key)
    return edition


def _ranges(indexes: Iterable[int]) -> Ranges:
    return union([], [[index, index] for index in indexes])
