"""The statement of a set from PostgreSQL: every figure counted again, in one snapshot."""

from collections.abc import Collection, Iterable
from datetime import date
from decimal import Decimal

import asyncpg

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.manifests import hex_or_none, newest_manifest
from dataharvest.adapters.postgres.reconciled_values import ValuesOfVersion, amounts, summed, typed_sums
from dataharvest.adapters.postgres.sums import exact_sums, money_columns, sums_query
from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.statement import DeliveryFigures, OutboundFigures, Statement
from dataharvest.rules.tiling import Totals
from dataharvest.rules.versions import DeliveryView, newest_complete
from dataharvest.sql import queries
from dataharvest.transformers import all_transformers

_SQL = queries("reconciliation")

Row = asyncpg.Record


async def read_statement(database: Database, tenant: str, business_date: date) -> Statement | None:
    """The statement of a set; None when nothing of it ever arrived."""
    key = SetKey(tenant, business_date)
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        if not await connection.fetchval(_SQL["known_set"], *key):
            return None
        version = await connection.fetchrow(_SQL["version"], *key)
        made_of: dict[str, int] = version["deliveries"] if version else {}
        values = ValuesOfVersion(connection, key, version) if version else None
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
            has_changed_rows=version["has_changed_rows"] if version else False,
            links=await values.links() if values else None,
            values=await values.figures() if values else (),
            outbound=tuple(await _outbound(connection, key, version)) if version else (),
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


async def _outbound(connection: Connection, key: SetKey, version: Row) -> list[OutboundFigures]:
    return [await _messages(connection, key, version, one) for one in all_outbound().values()]


async def _messages(connection: Connection, key: SetKey, version: Row, message: OutboundMessage) -> OutboundFigures:
    which = (*key, message.name, version["version"])
    counts = await connection.fetchrow(_SQL["message_counts"], *which)
    assert counts is not None
    taken = {name: all_transformers()[source] for source, names in message.takes.items() for name in names}
    copied = _copied_money(message)
    numbers = {name for one in taken.values() for name in summed(one)} & taken.keys()
    named = [name for name in message.fields if name in numbers or any(name in names for names in copied.values())]
    money = {name for name in named if name not in taken or name in amounts(taken[name])}
    return OutboundFigures(
        topic=message.topic,
        is_done=message.rule.provides in version["facts"],
        takes=message.takes,
        copied_sums={
            name: await _copied(connection, version, message, name, columns)
            for name, columns in copied.items()
            if not version["has_changed_rows"]
        },
        sums=typed_sums(await connection.fetch(_SQL["message_sums"], *which, named), money),
        **dict(counts),
    )


def _copied_money(message: OutboundMessage) -> dict[str, list[str]]:
    """Money columns that the message reads and sends under the same name, by entity."""
    money = {name: set(money_columns(all_entities()[name])) for name in message.reads}
    found = {name: [one for one in columns if one in money[name] & {*message.fields}] for name, columns in message.reads.items()}
    return {name: columns for name, columns in found.items() if columns}


async def _copied(
    connection: Connection, version: Row, message: OutboundMessage, name: str, columns: Iterable[str]
) -> dict[str, Decimal]:
    entity = all_entities()[name]
    sums = ", ".join(f"coalesce(sum(r.{column}), 0)::text AS {column}" for column in columns)
    source = f"{entity.table} r WHERE r.delivery_id = $1"
    arguments = [version["deliveries"].get(name)]
    if name != f"{message.per}s":
        # A row goes into every message that it is linked to: the account of two portfolios into both.
        shared = ", ".join(entity.linked)
        keys = f"(SELECT DISTINCT {message.per}_reference AS receiver, {shared} FROM link WHERE set_version_id = $2) l"
        source = f"{keys} JOIN {entity.table} r USING ({shared}) WHERE r.delivery_id = $1"
        arguments.append(version["set_version_id"])
    row = await connection.fetchrow(f"SELECT {sums} FROM {source}", *arguments)
    assert row is not None
    return {column: Decimal(text) for column, text in row.items()}
