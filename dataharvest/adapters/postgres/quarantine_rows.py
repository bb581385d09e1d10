"""Entries of the quarantine as their rows say."""

from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.quarantine import Entry, Selection
from dataharvest.sql import queries

_SQL = queries("quarantine")


async def read_entries(connection: Connection, selection: Selection, *, limit: int | None = None) -> list[Entry]:
    """The first entries of a selection."""
    return [_entry(row) for row in await connection.fetch(_SQL["entries"], *arguments(selection), limit)]


def _entry(row: Any) -> Entry:
    columns = dict(row)
    action, who, at = (columns.pop(name) for name in ("action", "who", "repaired_at"))
    return Entry(settled=f"{who} at {at:%F %T} UTC ({action})" if action else None, **columns)


def arguments(selection: Selection) -> tuple[Any, ...]:
    """What a query for a selection is given."""
    return (
        selection.tenant,
        selection.business_date,
        selection.entity,
        selection.rule,
        None if selection.ids is None else list(selection.ids),
        selection.state,
        selection.with_superseded,
        selection.delivery_id,
    )
