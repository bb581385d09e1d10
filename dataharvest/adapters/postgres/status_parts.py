"""What a status report says beside a set's own rows: quarantine, duplicates, orphans, batches, warnings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.status_repairs import dropped_repairs
from dataharvest.adapters.postgres.status_rows import Row, SetRows, fields_of
from dataharvest.deliveries import SetKey
from dataharvest.rules.versions import ACCEPTING
from dataharvest.sql import queries
from dataharvest.status import DuplicateKey, Orphans, Quarantined, RuleStatus

_SQL = queries("status")
_SAMPLE = 5
"""Orphans that are shown of each kind."""
_SETS_LOOKED_INTO = 50
"""A report on more sets leaves out the warnings that need a look at the rows."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is known of set versions, by their id."""

    rules: Mapping[int, list[RuleStatus]]
    rules_since: Mapping[int, datetime]
    """When the first batch of the first rule that is not done was planned."""
    orphans: Mapping[int, list[Orphans]]
    warnings: Mapping[int, list[str]]
    duplicates: Mapping[int, list[DuplicateKey]]
    """By delivery."""
    missing_chunks: Mapping[int, int]
    """Lowest index that is not stored, by delivery in progress."""
    quarantined: Mapping[int, list[Quarantined]]
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


async def read_parts(connection: Connection, sets: Sequence[SetRows], *, sample: int) -> Parts:
    """What is known of these sets' newest versions and deliveries; ``sample`` quarantined records of each delivery."""
    newest = [one.versions[-1] for one in sets if one.versions]
    identities = [row["set_version_id"] for row in newest]
    rules: dict[int, list[RuleStatus]] = {}
    since: dict[int, datetime] = {}
    for row in await connection.fetch(_SQL["batches"], identities):
        one = RuleStatus(done=row["done_count"], **fields_of(RuleStatus, row))
        rules.setdefault(row["set_version_id"], []).append(one)
        if one.done < one.batch_count:
            since.setdefault(row["set_version_id"], row["since"])
    orphans: dict[int, list[Orphans]] = {}
    for row in await connection.fetch(_SQL["orphans"], identities, _SAMPLE):
        kind = Orphans(kind=row["kind"], count=row["record_count"], sample=row["sample"])
        orphans.setdefault(row["set_version_id"], []).append(kind)
    looked_into = newest if len(newest) <= _SETS_LOOKED_INTO else []
    warnings = {row["set_version_id"]: await _warnings(connection, row) for row in looked_into}
    return Parts(
        rules=rules,
        rules_since=since,
        orphans=orphans,
        warnings=warnings,
        duplicates=await _duplicates(connection, sets),
        missing_chunks=await _missing_chunks(connection, sets),
        dropped=await dropped_repairs(connection, newest),
        quarantined=await _quarantined(connection, [row for one in sets for row in one.deliveries], sample),
    )


async def _missing_chunks(connection: Connection, sets: Sequence[SetRows]) -> dict[int, int]:
    moving = [row["delivery_id"] for one in sets for row in one.deliveries if row["state"] in ACCEPTING]
    rows = await connection.fetch(_SQL["first_missing_chunks"], moving) if moving else ()
    return {row["delivery_id"]: row["first_missing"] for row in rows}


async def _warnings(connection: Connection, version: Row) -> list[str]:
    accounts = version["deliveries"].get("accounts")
    mixed = await connection.fetchval(_SQL["mixed_currency"], version["set_version_id"], accounts) if accounts else 0
    if not mixed:
        return []
    who = "1 client has" if mixed == 1 else f"{mixed:,} clients have"
    return [f"mixed_currency: {who} accounts in more than one currency; their taxes are summed as if it were one"]
