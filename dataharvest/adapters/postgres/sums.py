"""Exact sums over the rows of a delivery, and how they are stored: as JSON of texts, for a JSON number may lose digits."""

from collections.abc import Mapping
from decimal import Decimal

from dataharvest.entities import Entity, Kind


def sums_query(entity: Entity) -> str:
    """A query for the number of rows of delivery ``$1`` and their exact sums: ``count``, and ``sums`` as JSON of texts."""
    money = money_columns(entity)
    pairs = ", ".join(f"'{name}', coalesce(sum({name}), 0)::text" for name in money)
    return f"SELECT count(*) AS count, jsonb_build_object({pairs}) AS sums FROM {entity.table} WHERE delivery_id = $1"


def money_columns(entity: Entity) -> list[str]:
    """Names of the columns that hold money."""
    return [column.name for column in entity.columns if column.kind is Kind.MONEY]


def exact_sums(stored: Mapping[str, str]) -> dict[str, Decimal]:
    """The sums of a JSON object of texts, in the order of their names."""
    return {name: Decimal(stored[name]) for name in sorted(stored)}
