"""The statement of a set from PostgreSQL: every figure counted again, in one snapshot."""

from collections.abc import Collection
from datetime import date

import asyncpg

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.manifests import hex_or_none, newest_manifest
from dataharvest.adapters.postgres.reconciled_batches import VersionAgain
from dataharvest.adapters.postgres.reconciled_messages import outbound_figures
from dataharvest.adapters.postgres.reconciled_values import relation_figures, value_figures
from dataharvest.adapters.postgres.sums import exact_sums, sums_query
from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.statement import DeliveryFigures, Statement
from dataharvest.rules.tiling import Totals
from dataharvest.rules.versions import DeliveryView, newest_complete
from dataharvest.sql import queries

_SQL = queries("reconciliation")
_PLAN_FOR_BATCHES = queries("work")["settings"]

Row = asyncpg.Record


async def read_statement(database: Database, tenant: str, business_date: date) -> Statement | None:
    """The statement of a set; None when nothing of it ever arrived."""
    key = SetKey(tenant, business_date)
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_PLAN_FOR_BATCHES)
        if not await connection.fetchval(_SQL["known_set"], *key):
            return None
        version = await connection.fetchrow(_SQL["version"], *key)
        made_of: dict[str, int] = version["deliveries"] if version else {}
        again = VersionAgain(connection, key, version) if version else None
        manifest, trouble = await _manifest(connection, key)
        return Statement(
            tenant=tenant,
            business_date=business_date,
            version=version["version"] if version else None,
            version_state=version["state"] if version else None,
            version_deliveries=made_of,
            manifest=manifest,
            manifest_trouble=trouble,
            deliveries=tuple(await _deliveries(connection, key, made_of.values())),
            is_other_edition=again is not None and again.is_other_edition,
            relation=await relation_figures(again) if again else None,
            values=await value_figures(again) if again else (),
            outbound=await outbound_figures(again) if again else (),
        )


async def _manifest(connection: Connection, key: SetKey) -> tuple[Manifest | None, str]:
    try:
        return await newest_manifest(connection, key), ""
    except Rejected as reason:
        return None, reason.message


async def _deliveries(connection: Connection, key: SetKey, made_of: Collection[int]) -> list[DeliveryFigures]:
    rows = await connection.fetch(_SQL["deliveries"], *key, list(made_of))
    newest = {one.delivery_id for one in newest_complete(map(_view, rows)).values()}
    wanted = newest | set(made_of)
    return [
        await _delivery(connection, row, is_newest=row["delivery_id"] in newest) for row in rows if row["delivery_id"] in wanted
    ]


async def _delivery(connection: Connection, row: Row, *, is_newest: bool) -> DeliveryFigures:
    table = await connection.fetchrow(sums_query(all_entities()[row["entity"]]), row["delivery_id"])
    assert table is not None
    return DeliveryFigures(
        delivery_id=row["delivery_id"],
        entity=row["entity"],
        is_newest=is_newest,
        ledger=Totals(*row["ledger"]),
        recorded=Totals(*row["recorded"]),
        recorded_sums=None if row["sums"] is None else exact_sums(row["sums"]),
        row_count=table["count"],
        quarantine_count=row["quarantine_count"],
        accepted_count=row["accepted_count"],
        row_sums=exact_sums(table["sums"]),
        object_sha256=hex_or_none(row["object_sha256"]),
        content_sha256=hex_or_none(row["content_sha256"]),
    )


def _view(row: Row) -> DeliveryView:
    return DeliveryView(
        delivery_id=row["delivery_id"],
        entity=row["entity"],
        state=row["state"],
        last_modified=row["last_modified"],
        object_key=row["object_key"],
        open_quarantine=0,
    )
