"""Frames of a batch: one scan per entity, out of PostgreSQL as CSV and into polars, and values back the same way."""

from io import BytesIO

import polars as pl

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.csv_frames import frame_of
from dataharvest.deliveries import OpenBatch
from dataharvest.entities import Kind, all_entities
from dataharvest.messages import Batch
from dataharvest.rules.carrying import is_from_links
from dataharvest.transformers import all_transformers
from dataharvest.transformers.model import AMOUNT, Per, Reads

_LOOKED_FOR_ORPHANS = ("portfolios", "accounts", "transactions")


async def read_entity(
    connection: Connection, name: str, columns: tuple[str, ...], *, per: Per, opened: OpenBatch, batch: Batch
) -> pl.DataFrame:
    """The rows of one entity that concern the batch: its own, or those linked to them.

    Portfolios are read from the links that relating has made, so that a portfolio without a client or account is not among them.
    """
    selected = ", ".join(f"r.{column}" for column in columns)
    sliced_by = _sliced_by(per, batch)
    if is_from_links(name, columns):
        query = f"SELECT {selected} FROM link r WHERE r.set_version_id = {opened.set_version_id}"
        query += _in_slice(f"r.{sliced_by}", batch, opened)
    else:
        entity = all_entities()[name]
        condition = _concerns(name, sliced_by, own=f"{per}s", opened=opened, batch=batch)
        query = f"SELECT {selected} FROM {entity.table} r WHERE r.delivery_id = {opened.delivery_of(name)}::bigint{condition}"
    kinds = {column.name: column.kind for column in all_entities()[name].columns}
    casts = [
        pl.col(column).cast(AMOUNT if kinds[column] is Kind.MONEY else pl.Int64)
        for column in columns
        if kinds[column] in (Kind.MONEY, Kind.DIGITS)
    ]
    return (await _copy_out(connection, query, columns)).with_columns(casts)


async def read_frames(
    connection: Connection, reads: Reads, *, per: Per, opened: OpenBatch, batch: Batch
) -> dict[str, pl.DataFrame]:
    """The rows of each entity that concern the batch, by its name."""
    return {
        name: await read_entity(connection, name, columns, per=per, opened=opened, batch=batch) for name, columns in reads.items()
    }


async def read_values(connection: Connection, takes: Reads, *, opened: OpenBatch, batch: Batch) -> pl.DataFrame:
    """Values of several transformers side by side, one row per ``reference``, of the types declared."""
    joined: pl.DataFrame | None = None
    for transformer, names in takes.items():
        fields = ", ".join(f"r.fields->>'{name}' AS {name}" for name in names)
        query = (
            f"SELECT r.reference, {fields} FROM value r WHERE r.set_version_id = {opened.set_version_id} "
            f"AND r.transformer = '{transformer}'{_values_in_slice(opened, batch)}"
        )
        frame = await _copy_out(connection, query, ("reference", *names))
        declared = all_transformers()[transformer].values
        frame = frame.with_columns(pl.col(name).cast(declared[name]) for name in names)
        joined = frame if joined is None else joined.join(frame, on="reference")
    assert joined is not None, "an outbound message takes the values of at least one transformer"
    return joined


async def copy_frame(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """Append a frame to a table; the columns have the names of the table's."""
    buffer = BytesIO()
    frame.write_csv(buffer, include_header=False)
    buffer.seek(0)
    await connection.copy_to_table(table, source=buffer, columns=frame.columns, format="csv")


async def _copy_out(connection: Connection, query: str, columns: tuple[str, ...]) -> pl.DataFrame:
    parts: list[bytes] = []

    # Of anything that has a `write` the driver calls it in another thread for each piece of 8 to 64 KB.
    async def keep(part: bytes) -> None:
        parts.append(part)

    await connection.copy_from_query(query, output=keep, format="csv")
    return frame_of(b"".join(parts), columns)


def _in_slice(expression: str, batch: Batch, opened: OpenBatch) -> str:
    if opened.references is not None:
        return f" AND {expression} = ANY('{{{','.join(opened.references)}}}'::uuid[])"
    if batch.batch_count == 1:
        return ""
    return f" AND abs(hashtext({expression}::text)::bigint) % {batch.batch_count} = {batch.batch}"


def _sliced_by(per: Per, batch: Batch) -> str:
    """The column of a link that says which batch it belongs to."""
    if per == "portfolio" and batch.rule in all_transformers():
        # A portfolio has one account, so these are slices of portfolios, too; but a transaction says by itself which one it
        # belongs to, and most are passed over without a look at the links.
        return "account_number"
    # An older version's message, which may have to be withdrawn, knows its reference only.
    return f"{per}_reference"


def _values_in_slice(opened: OpenBatch, batch: Batch) -> str:
    own = all_transformers().get(batch.rule)
    if batch.batch_count == 1 or own is None or _sliced_by(own.per, batch) == f"{own.per}_reference":
        return _in_slice("r.reference", batch, opened)
    # Of a transformer's batch the values that were computed from its frames: a value does not know the portfolio's account.
    # The rows of a superseded file may be gone; orphans among them have no link.
    mine = f"AND p.portfolio_reference = r.reference{_in_slice('p.account_number', batch, opened)}"
    table, delivery_id = all_entities()["portfolios"].table, opened.delivery_of("portfolios")
    rows = f"SELECT FROM {table} p WHERE p.delivery_id = {delivery_id}::bigint {mine}"
    return f" AND (EXISTS ({rows}) OR EXISTS (SELECT FROM link p WHERE p.set_version_id = {opened.set_version_id} {mine}))"


def _concerns(name: str, sliced_by: str, *, own: str, opened: OpenBatch, batch: Batch) -> str:
    if batch.batch_count == 1 and opened.references is None:
        return ""
    if name == own:
        return _in_slice(f"r.{sliced_by}", batch, opened)
    linked = all_entities()[name].linked
    if not linked:
        return ""
    same = " AND ".join(f"l.{column} = r.{column}" for column in linked)
    mine = _in_slice(f"l.{sliced_by}", batch, opened)
    links = f"SELECT FROM link l WHERE l.set_version_id = {opened.set_version_id} AND {same}{mine}"
    its_own = _in_slice(f"r.{sliced_by}", batch, opened) if sliced_by in linked else ""
    # Without orphans every record is linked, and a row in the slice need not be looked up; relating vouches for no other entity.
    return its_own if its_own and opened.all_linked and name in _LOOKED_FOR_ORPHANS else f"{its_own} AND EXISTS ({links})"
