"""Rows and frames out of the chunks in memory, as PostgreSQL would give them back."""

import polars as pl

from dataharvest.adapters.memory_ledger import StoredDelivery
from dataharvest.entities import Kind, all_entities
from dataharvest.rules.cells import row_cells
from dataharvest.transformers import AMOUNT

Row = dict[str, str | None]

_TYPED = {Kind.MONEY: AMOUNT, Kind.DIGITS: pl.Int64()}


def rows_of(delivery: StoredDelivery) -> list[Row]:
    """The stored rows of a delivery, in order."""
    assert delivery.entity is not None
    lower = {column.name for column in all_entities()[delivery.entity].columns if column.kind is Kind.UUID}
    chunks = [checked for _, (_, checked) in sorted(delivery.chunks.items())]
    rows = [zip(one.copy_columns, cells_of(line), strict=True) for one in chunks for line in one.copy_text.splitlines()]
    return [{name: cell.lower() if cell and name in lower else cell for name, cell in row} for row in rows]


def frame_of(entity: str, columns: tuple[str, ...], rows: list[Row]) -> pl.DataFrame:
    """The rows as a frame of the entity's types."""
    kinds = {column.name: column.kind for column in all_entities()[entity].columns}
    texts = [{name: row[name] for name in columns} for row in rows]
    frame = pl.DataFrame(texts, schema=dict.fromkeys(columns, pl.String))
    return frame.with_columns(pl.col(name).cast(_TYPED[kinds[name]]) for name in columns if kinds[name] in _TYPED)


def cells_of(line: bytes) -> list[str | None]:
    """The cells of a row as COPY takes it."""
    return [cell.decode() if cell else None for cell in row_cells(line)]
