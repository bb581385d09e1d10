"""The status report from PostgreSQL, read in one snapshot."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.contracts import unreadable_contracts
from dataharvest.adapters.postgres.status_repairs import dropped_repairs
from dataharvest.adapters.postgres.status_rows import Row, SetRows, fields_of, read_sets
from dataharvest.deliveries import SetKey
from dataharvest.objects import ObjectVersion
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import Standing
from dataharvest.rules.versions import newest_complete
from dataharvest.sql import queries
from dataharvest.status import (
    Counts,
    DeadLetters,
    DeliveryStatus,
    DuplicateKey,
    ManifestStatus,
    Orphans,
    Quarantined,
    RuleStatus,
    SetStatus,
    StatusReport,
    UnreadableContract,
)

_SQL = queries("status")
_SAMPLE = 5
"""Quarantined records and orphans that are shown of each delivery or kind."""
_SETS_LOOKED_INTO = 50
"""A report on more sets leaves out the warnings that need a look at the rows."""


class UploadView(NamedTuple):
    """What became of an upload."""

    delivery_id: int | None
    """None for a manifest."""
    manifest_id: int | None
    """None for a delivery."""
    state: str
    """Of a delivery, or broken where it does not add up.

    Of a manifest kept until its set was decided about with it, then compared or rejected.
    """
    stored_chunk_count: int
    expected_chunk_count: int
    """An estimate until the file was read to its end."""
    record_count: int


class PostgresStatus:
    """Reads where deliveries and sets stand; changes nothing."""

    def __init__(self, database: Database, *, required: Collection[str], rules: Collection[Rule]) -> None:
        self._database = database
        self._required = required
        self._rules = rules

    async def now(self) -> datetime:
        """The database's clock."""
        async with self._database.connection() as connection:
            moment: datetime = await connection.fetchval(_SQL["clock"])
        return moment

    async def uploads(self, versions: Sequence[ObjectVersion]) -> dict[ObjectVersion, UploadView]:
        """What became of those versions of objects that are registered; all of one bucket."""
        if not versions:
            return {}
        keys, identities = [one.key for one in versions], [one.identity for one in versions]
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["uploads"], versions[0].bucket, keys, identities)
        found = {(row["object_key"], row["object_identity"]): UploadView(**fields_of(UploadView, row)) for row in rows}
        return {one: found[one.key, one.identity] for one in versions if (one.key, one.identity) in found}

    async def standings(self, tenant: str, dates: Collection[date]) -> dict[SetKey, Standing]:
        """Where these sets of a tenant stand; those that are not known yet are left out."""
        async with self._snapshot() as connection:
            sets, _ = await read_sets(connection, tenant, dates, ())
        return {one.key: one.standing(required=self._required, rules=self._rules) for one in sets}

    async def report(
        self,
        *,
        tenant: str | None = None,
        dates: Collection[date] | None = None,
        delivery_ids: Collection[int] = (),
        since: datetime | None = None,
        sample: int = _SAMPLE,
    ) -> StatusReport:
        """The report on sets that match, on these deliveries, and on dead letters ``since`` then.

        ``sample`` quarantined records are shown of each delivery.
        """
        async with self._snapshot() as connection:
            sets, others = await read_sets(connection, tenant, dates, delivery_ids)
            samples = await _quarantined(connection, [row for one in sets for row in one.deliveries], sample)
            parts = await _version_parts(connection, sets)
            dead = [DeadLetters(stage=row[0], rule=row[1], count=row[2], last_at=row[3]) for row in
                    await connection.fetch(_SQL["dead_letters"], since)]  # fmt: skip
            contracts = await unreadable_contracts(connection, tenant)
            at = await connection.fetchval(_SQL["clock"])
        return StatusReport(
            at=at,
            sets=[self._set_status(one, samples, parts) for one in sets],
            deliveries_without_set=[_delivery_status(row, {}, {}) for row in others],
            dead_letter_count=sum(one.count for one in dead),
            dead_letters=dead,
            unreadable_contracts=[
                UnreadableContract(tenant=whose, version=version, message=message)
                for (whose, version), message in sorted(contracts.items())
            ],
        )

    def _set_status(self, rows: SetRows, samples: Mapping[int, list[Quarantined]], parts: "_Parts") -> SetStatus:
        stands = rows.standing(required=self._required, rules=self._rules)
        deliveries = [_delivery_status(row, samples, parts.duplicates) for row in rows.deliveries]
        newest = {one.delivery_id for one in newest_complete(rows.view().deliveries).values()}
        current = rows.versions[-1] if rows.versions else None
        identity = current["set_version_id"] if current else 0
        return SetStatus(
            tenant=rows.key.tenant,
            business_date=rows.key.business_date,
            state=stands.state,
            version=stands.version,
            published_at=current["published_at"] if current else None,
            waits_for=list(stands.waits_for),
            reason=stands.reason,
            counts=sum((one.counts for one in deliveries if one.delivery_id in newest), Counts()),
            warnings=[*parts.warnings.get(identity, []), *parts.dropped.get(rows.key, []), *rows.tolerated(), *rows.lateness()],
            orphans=parts.orphans.get(identity, []),
            rules=parts.rules.get(identity, []),
            deliveries=deliveries,
            problem=rows.problem,
            late_at=rows.late_at,
            manifests=[ManifestStatus(file=row["object_key"], **fields_of(ManifestStatus, row)) for row in rows.manifests],
        )

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What is known of set versions, by their id."""

    rules: Mapping[int, list[RuleStatus]]
    orphans: Mapping[int, list[Orphans]]
    warnings: Mapping[int, list[str]]
    duplicates: Mapping[int, list[DuplicateKey]]
    """By delivery."""
    dropped: Mapping[SetKey, list[str]]
    """Repairs that newer files have dropped, by set."""


async def _quarantined(connection: Connection, deliveries: Iterable[Row], sample: int) -> dict[int, list[Quarantined]]:
    found: dict[int, list[Quarantined]] = {}
    wanted = [row["delivery_id"] for row in deliveries if row["open_quarantine"]]
    for row in await connection.fetch(_SQL["quarantined"], wanted, sample) if wanted else ():
        one = Quarantined(column=row["column_name"], **fields_of(Quarantined, row))
        found.setdefault(row["delivery_id"], []).append(one)
    return found


async def _duplicates(connection: Connection, sets: Sequence[SetRows]) -> dict[int, list[DuplicateKey]]:
    found: dict[int, list[DuplicateKey]] = {}
    shown = [row["delivery_id"] for one in sets for row in one.deliveries]
    for row in await connection.fetch(_SQL["duplicate_keys"], shown):
        found.setdefault(row["delivery_id"], []).append(DuplicateKey(**fields_of(DuplicateKey, row)))
    return found


async def _version_parts(connection: Connection, sets: Sequence[SetRows]) -> _Parts:
    newest = [one.versions[-1] for one in sets if one.versions]
    identities = [row["set_version_id"] for row in newest]
    rules: dict[int, list[RuleStatus]] = {}
    for row in await connection.fetch(_SQL["batches"], identities):
        one = RuleStatus(rule=row["rule"], done=row["done_count"], batch_count=row["batch_count"])
        rules.setdefault(row["set_version_id"], []).append(one)
    orphans: dict[int, list[Orphans]] = {}
    for row in await connection.fetch(_SQL["orphans"], identities, _SAMPLE):
        kind = Orphans(kind=row["kind"], count=row["record_count"], sample=row["sample"])
        orphans.setdefault(row["set_version_id"], []).append(kind)
    looked_into = newest if len(newest) <= _SETS_LOOKED_INTO else []
    warnings = {row["set_version_id"]: await _warnings(connection, row) for row in looked_into}
    return _Parts(
        rules=rules,
        orphans=orphans,
        warnings=warnings,
        duplicates=await _duplicates(connection, sets),
        dropped=await dropped_repairs(connection, newest),
    )


async def _warnings(connection: Connection, version: Row) -> list[str]:
    accounts = version["deliveries"].get("accounts")
    mixed = await connection.fetchval(_SQL["mixed_currency"], version["set_version_id"], accounts) if accounts else 0
    if not mixed:
        return []
    who = "1 client has" if mixed == 1 else f"{mixed:,} clients have"
    return [f"mixed_currency: {who} accounts in more than one currency; their taxes are summed as if it were one"]


def _delivery_status(
    row: Row, samples: Mapping[int, list[Quarantined]], duplicates: Mapping[int, list[DuplicateKey]]
) -> DeliveryStatus:
    counts = {name: row[f"{name}_count"] for name in Counts.model_fields if name != "read"}
    return DeliveryStatus(
        file=row["object_key"],
        counts=Counts(read=row["record_count"], **counts),
        quarantined=samples.get(row["delivery_id"], []),
        duplicates=duplicates.get(row["delivery_id"], []),
        **fields_of(DeliveryStatus, row),
    )
