"""What one pass over a delivery's rows finds: their number, their place, and exact sums as text: a JSON number loses digits."""

from collections.abc import Mapping
from decimal import Decimal

from dataharvest.entities import Entity, Kind


def sums_query(entity: Entity) -> str:
    """A query over the rows of delivery ``$1``: ``count``, ``first_place`` and ``last_place``, and ``sums`` as JSON of texts."""
    return f"SELECT {_counts(entity)} FROM {entity.table} WHERE delivery_id = $1"


def weighing_query(entity: Entity, *, key_hash: str) -> str:
    """The same, and in the same pass ``hashes``: those of all natural keys that are not null, as numbers of eight bytes."""
    hashes = f"string_agg(int8send({key_hash}), '') AS hashes"
    return f"SELECT {_counts(entity)}, {hashes} FROM {entity.table} WHERE delivery_id = $1"


def slice_query(entity: Entity, *, key_hash: str | None) -> str:
    """The same, of the blocks from ``$2`` to before ``$3``; without ``hashes`` where there is nothing to make them of."""
    query = sums_query(entity) if key_hash is None else weighing_query(entity, key_hash=key_hash)
    return f"{query} AND ctid >= $2 AND ctid < $3"


def _counts(entity: Entity) -> str:
    return f"{row_totals(entity)}, min(ctid) AS first_place, max(ctid) AS last_place"


def row_totals(entity: Entity) -> str:
    """What is selected of rows to have ``count`` and ``sums`` of them."""
    pairs = ", ".join(f"'{name}', coalesce(sum({name}), 0)::text" for name in money_columns(entity))
    return f"count(*) AS count, jsonb_build_object({pairs}) AS sums"


def money_columns(entity: Entity) -> list[str]:
    """Names of the columns that hold money."""
    return [column.name for column in entity.columns if column.kind is Kind.MONEY]


def exact_sums(stored: Mapping[str, str]) -> dict[str, Decimal]:
    """The sums of a JSON object of texts, in the order of their names."""
    return {name: Decimal(stored[name]) for name in sorted(stored)}
