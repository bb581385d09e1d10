"""All that the page of one set shows, from PostgreSQL."""

from datetime import date, datetime
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.rules.needs import Rule, Work
from dataharvest.set_details import DeadLetter, QuarantinedRecord, SetDetails, VersionStatus
from dataharvest.set_stages import stages_of
from dataharvest.set_timeline import BatchMoments, timeline_of
from dataharvest.sql import queries
from dataharvest.status import SetStatus

_SQL = queries("status")
_RECORDS_SHOWN, _RAW_BYTES_SHOWN = 100, 400
_DEAD_LETTERS_SHOWN = 20


async def read_details(connection: Connection, one: SetStatus, *, at: datetime, rules: list[Rule]) -> SetDetails:
    """What is stored of the set beside its status."""
    key = one.tenant, one.business_date
    versions = [_version(row) for row in await connection.fetch(_SQL["version_details"], *key)]
    moments = [dict(row) for row in await connection.fetch(_SQL["delivery_moments"], *key)]
    batches = [BatchMoments(*row.values()) for row in await connection.fetch(_SQL["batch_moments"], *key)]
    delivery_ids = [each.delivery_id for each in one.deliveries]
    relate, transform = ({rule.name for rule in rules if rule.work is work} for work in (Work.RELATE, Work.TRANSFORM))
    return SetDetails(
        at=at,
        set=one,
        stages=stages_of(one, versions, relate=relate, transform=transform),
        versions=versions,
        quarantine=await _quarantine(connection, *key),
        quarantine_count=await connection.fetchval(_SQL["quarantine_count_of_set"], *key),
        dead_letters=await read_dead_letters(connection, of=delivery_ids, limit=_DEAD_LETTERS_SHOWN),
        timeline=timeline_of(one, moments, versions, batches),
    )


async def read_dead_letters(connection: Connection, *, of: list[int] | None, limit: int) -> list[DeadLetter]:
    """The newest dead letters of these deliveries, or all that are open."""
    rows = await connection.fetch(_SQL["dead_letter_list"], of, limit)
    return [DeadLetter(**dict(row)) for row in rows]


async def _quarantine(connection: Connection, tenant: str, day: date) -> list[QuarantinedRecord]:
    rows = await connection.fetch(_SQL["quarantine_of_set"], tenant, day, _RECORDS_SHOWN, _RAW_BYTES_SHOWN)
    return [QuarantinedRecord(**{**dict(row), "raw": _as_text(row["raw"])}) for row in rows]


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _version(row: Any) -> VersionStatus:
    known = {name: row[name] for name in VersionStatus.model_fields}
    facts = sorted(row["facts"].items(), key=lambda fact: fact[1])
    return VersionStatus(**{**known, "facts": dict(facts), "deliveries": dict(sorted(row["deliveries"].items()))})
