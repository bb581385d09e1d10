"""The end of a delivery that does not count, in PostgreSQL."""

from collections.abc import Mapping
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.deliveries import Sealing
from dataharvest.entities import all_entities
from dataharvest.sql import queries

_SQL = queries("deliveries")


async def end_delivery(
    connection: Connection,
    delivery_id: int,
    entity: str,
    state: str,
    *,
    failure: Mapping[str, Any] | None = None,
    repeat_of: int | None = None,
    sealing: Sealing | None = None,
) -> None:
    """End a delivery that does not count: its rows, its quarantined records and its ledger go with its state."""
    # The delivery row is locked: no chunk of it can be stored any more.
    content_sha256 = sealing.content_sha256 if sealing else None
    await connection.execute(_SQL["end_delivery"], delivery_id, state, failure, repeat_of, content_sha256)
    await connection.execute(_SQL["plan_for_rows"])
    await connection.execute(f"DELETE FROM {all_entities()[entity].table} WHERE delivery_id = $1", delivery_id)
    await connection.execute(_SQL["remove_quarantine"], delivery_id)
    await connection.execute(_SQL["remove_chunks"], delivery_id)
