"""Relating in PostgreSQL, slice by slice: each goes through its blocks of the tables, and the last one adds them up."""

import logging

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.deliveries import OpenBatch
from dataharvest.messages import Batch
from dataharvest.rules.batching import block_range
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("relating")
_SLICED = {"portfolios": "p", "transactions": "t", "accounts": "a"}
"""Tables whose rows are gone through, and what they are called in the statements."""
_RELATED = ("portfolios", "clients", "accounts", "transactions")
_FILES = " || ',' || ".join(f"pg_relation_filenode('row_{name}')" for name in _SLICED)
_WHOLE = dict.fromkeys(_SLICED, "")

Places = dict[str, str]
"""A condition for each table that is gone through."""


async def relate_slice(connection: Connection, batch: Batch, opened: OpenBatch) -> dict[str, int] | None:
    """Link what the slice goes through and count its orphans; the whole version's, by kind, once no other slice is open.

    The slices that are gone through one after the other must have seen every row once. Where a table was written anew in
    between, rows have moved: then the last slice does the whole.
    """
    await connection.execute(_SQL["room"])
    if batch.batch_count == 1:
        return await _relate(connection, opened, _WHOLE)
    places = await _places(connection, batch, opened)
    await _link(connection, opened, places)
    found = await _orphans(connection, opened, places)
    await _note_seen(connection, batch, opened, places)
    await connection.execute(_SQL["lock"], opened.set_version_id)
    await _add(connection, opened, found)
    query = _SQL["slices"].replace("{files}", _FILES)
    [slices] = await connection.fetch(query, opened.set_version_id, batch.rule, batch.batch)
    if not slices["is_last"]:
        return None
    if not slices["saw_all"]:
        return await _relate_anew(connection, opened)
    counts = await connection.fetch(_SQL["orphan_counts"], opened.set_version_id)
    return {row["kind"]: row["record_count"] for row in counts}


async def _relate_anew(connection: Connection, opened: OpenBatch) -> dict[str, int]:
    logger.warning("rows moved between slices, related as a whole", extra={"set_version_id": opened.set_version_id})
    for name in ("forget_links", "forget_orphans", "forget_orphan_counts"):
        await connection.execute(_SQL[name], opened.set_version_id)
    return await _relate(connection, opened, _WHOLE)


async def _relate(connection: Connection, opened: OpenBatch, places: Places) -> dict[str, int]:
    await _link(connection, opened, places)
    found = await _orphans(connection, opened, places)
    await _add(connection, opened, found)
    return {kind: count for kind, count, _ in found}


async def _link(connection: Connection, opened: OpenBatch, places: Places) -> None:
    deliveries = map(opened.delivery_of, ("portfolios", "clients", "accounts"))
    await connection.execute(_placed("links", places), opened.set_version_id, *deliveries)


async def _orphans(connection: Connection, opened: OpenBatch, places: Places) -> list[tuple[str, int, list[str]]]:
    rows = await connection.fetch(_placed("orphans", places), *map(opened.delivery_of, _RELATED))
    return [(row["kind"], row["record_count"], row["sample"]) for row in rows]


async def _add(connection: Connection, opened: OpenBatch, found: list[tuple[str, int, list[str]]]) -> None:
    for kind, count, sample in found:
        await connection.execute(_SQL["add_orphan_count"], opened.set_version_id, kind, count)
        await connection.execute(_SQL["add_orphans"], opened.set_version_id, kind, sample)


async def _note_seen(connection: Connection, batch: Batch, opened: OpenBatch, places: Places) -> None:
    query = _placed("note_seen", places).replace("{files}", _FILES)
    await connection.execute(query, opened.set_version_id, batch.rule, batch.batch, *map(opened.delivery_of, _SLICED))


async def _places(connection: Connection, batch: Batch, opened: OpenBatch) -> Places:
    rows = await connection.fetch(_SQL["blocks"], list(_SLICED), list(map(opened.delivery_of, _SLICED)))
    return {row["entity"]: _condition(_SLICED[row["entity"]], batch, row["first"], row["last"]) for row in rows}


def _condition(alias: str, batch: Batch, first: int, last: int) -> str:
    start, stop = block_range(first, last, part=batch.batch, part_count=batch.batch_count)
    return f" AND {alias}.ctid >= '({start},0)' AND {alias}.ctid < '({stop},0)'"


def _placed(name: str, places: Places) -> str:
    query = _SQL[name]
    for entity, condition in places.items():
        query = query.replace(f"{{{entity}}}", condition)
    return query
