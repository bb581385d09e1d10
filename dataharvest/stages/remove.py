"""Remove: rows of superseded deliveries, once nobody needs them."""

from dataharvest.deliveries import SetKey
from dataharvest.ports import Removals


async def remove_rows(key: SetKey | None, *, removals: Removals) -> int:
    """Remove the rows of superseded deliveries that nobody needs, of one set or of all; returns of how many."""
    removed = 0
    for delivery_id in await removals.due(key):
        removed += await removals.remove(delivery_id)
    return removed
