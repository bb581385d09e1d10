"""Relating in PostgreSQL, slice by slice: each goes through its blocks of the tables, and the last one adds them up."""

import logging
from typing import NamedTuple

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.deliveries import OpenBatch
from dataharvest.messages import Batch
from dataharvest.rules.batching import block_range
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("relating")
_SLICED = {"portfolios": "p", "transactions": "t", "accounts": "a"}
"""Tables whose rows are gone through, and what they are called in the statements."""
_FILES = " || ',' || ".join(f"pg_relation_filenode('row_{name}')" for name in _SLICED)
_WHOLE = dict.fromkeys(_SLICED, "")
_HALVES = ("links", "orphans")
"""What even and odd slices go for, by the names under which a version takes it over from its base."""
_OF_PORTFOLIOS = ("portfolios without an account", "portfolios without a client")
_OF_OTHERS = ("transactions without an account", "accounts without a portfolio")

Places = dict[str, str]
"""A condition for each table that is gone through."""


class Orphans(NamedTuple):
    """Records of one kind without a counterpart, the first hundred of them by name."""

    kind: str
    record_count: int
    sample: list[str]


async def relate_slice(connection: Connection, batch: Batch, opened: OpenBatch) -> dict[str, int] | None:
    """Link what the slice goes through and count its orphans; the whole version's, by kind, once no other slice is open.

    Every second slice goes through portfolios, the others through transactions and accounts: so a slice has to look at fewer of
    the records on the other side. Together they must have seen every row once. Where a table was written anew in between,
    rows have moved: then the last slice does the whole.
    """
    if batch.batch_count == 1:
        return await _relate_whole(connection, opened)
    found, seen = await _relate_part(connection, batch, opened)
    arguments = opened.set_version_id, batch.rule, batch.batch
    await connection.execute(_SQL["note_seen"].replace("{files}", _FILES), *arguments, seen)
    await connection.execute(_SQL["lock"], opened.set_version_id)
    await _add(connection, opened, found)
    [slices] = await connection.fetch(_SQL["slices"].replace("{files}", _FILES), *arguments)
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
    return await _relate_whole(connection, opened)


async def _relate_whole(connection: Connection, opened: OpenBatch) -> dict[str, int]:
    found = await _portfolios(connection, opened, _WHOLE) + await _others(connection, opened, _WHOLE)
    await _add(connection, opened, found)
    return {one.kind: one.record_count for one in found}


async def _relate_part(connection: Connection, batch: Batch, opened: OpenBatch) -> tuple[list[Orphans], int]:
    """The orphans of a slice, and how many rows it went through."""
    if _HALVES[batch.batch % 2] not in opened.carried:
        places = await _places(connection, batch, opened)
    elif batch.batch < 2:
        # The first slice of its kind takes over everything, and has seen all that the base's slices saw.
        places = _WHOLE
    else:
        return [], 0
    if batch.batch % 2 == 0:
        found, seen = await _portfolios(connection, opened, places), _placed("seen_portfolios", places)
        return found, await connection.fetchval(seen, opened.delivery_of("portfolios"))
    found, seen = await _others(connection, opened, places), _placed("seen_others", places)
    return found, await connection.fetchval(seen, opened.delivery_of("accounts"), opened.delivery_of("transactions"))


async def _portfolios(connection: Connection, opened: OpenBatch, places: Places) -> list[Orphans]:
    if "links" in opened.carried:
        await connection.execute(_SQL["carry_links"], opened.set_version_id, opened.base_version_id)
        return await _carried_orphans(connection, opened, _OF_PORTFOLIOS)
    deliveries = map(opened.delivery_of, ("portfolios", "clients", "accounts"))
    return [Orphans(*row) for row in await connection.fetch(_placed("portfolios", places), opened.set_version_id, *deliveries)]


async def _others(connection: Connection, opened: OpenBatch, places: Places) -> list[Orphans]:
    if "orphans" in opened.carried:
        return await _carried_orphans(connection, opened, _OF_OTHERS)
    deliveries = map(opened.delivery_of, ("portfolios", "accounts", "transactions"))
    return [Orphans(*row) for row in await connection.fetch(_placed("others", places), *deliveries)]


async def _carried_orphans(connection: Connection, opened: OpenBatch, kinds: tuple[str, ...]) -> list[Orphans]:
    return [Orphans(*row) for row in await connection.fetch(_SQL["carried_orphans"], opened.base_version_id, kinds)]


async def _add(connection: Connection, opened: OpenBatch, found: list[Orphans]) -> None:
    for one in found:
        await connection.execute(_SQL["add_orphan_count"], opened.set_version_id, one.kind, one.record_count)
        await connection.execute(_SQL["add_orphans"], opened.set_version_id, one.kind, one.sample)


async def _places(connection: Connection, batch: Batch, opened: OpenBatch) -> Places:
    rows = await connection.fetch(_SQL["blocks"], list(_SLICED), list(map(opened.delivery_of, _SLICED)))
    return {row["entity"]: _condition(_SLICED[row["entity"]], batch, row["first"], row["last"]) for row in rows}


def _condition(alias: str, batch: Batch, first: int, last: int) -> str:
    # Of five slices three go through portfolios, and two through the rest.
    part_count = (batch.batch_count + 1 - batch.batch % 2) // 2
    start, stop = block_range(first, last, part=batch.batch // 2, part_count=part_count)
    return f" AND {alias}.ctid >= '({start},0)' AND {alias}.ctid < '({stop},0)'"


def _placed(name: str, places: Places) -> str:
    query = _SQL[name]
    for entity, condition in places.items():
        query = query.replace(f"{{{entity}}}", condition)
    return query
