"""Exact sums over the rows of a delivery, and how they are stored: as JSON of texts, for a JSON number may lose digits."""

from collections.abc import Mapping
from decimal import Decimal

from dataharvest.entities import Entity, Kind


def sums_query(entity: Entity) -> str:
    """A query for the number of rows of delivery ``$1`` and their exact sums: ``count``, and ``sums`` as JSON of texts."""
    return f"SELECT {_counts(entity)} FROM {entity.table} WHERE delivery_id = $1"


def weighing_query(entity: Entity, *, key_hash: str) -> str:
    """The same, and in the same pass ``hashes``: those of all natural keys that are not null, as numbers of eight bytes."""
    hashes = f"string_agg(int8send({key_hash}), '') AS hashes"
    return f"SELECT {_counts(entity)}, {hashes} FROM {entity.table} WHERE delivery_id = $1"


def _counts(entity: Entity) -> str:
    pairs = ", ".join(f"'{name}', coalesce(sum({name}), 0)::text" for name in money_columns(entity))
    return f"count(*) AS count, jsonb_build_object({pairs}) AS sums"


def money_columns(entity: Entity) -> list[str]:
    """Names of the columns that hold money."""
    return [column.name for column in entity.columns if column.kind is Kind.MONEY]


def exact_sums(stored: Mapping[str, str]) -> dict[str, Decimal]:
    """The sums of a JSON object of texts, in the order of their names."""
    return {name: Decimal(stored[name]) for name in sorted(stored)}
