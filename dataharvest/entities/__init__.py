"""The kinds of file: one module each, found by being there."""

from functools import cache

from dataharvest.entities.model import LINKED, Column, Entity, Kind
from dataharvest.plugins import members_by_name, modules_of

__all__ = ["LINKED", "Column", "Entity", "Kind", "all_entities"]


@cache
def all_entities() -> dict[str, Entity]:
    """Every entity by name, in order of name."""
    return members_by_name(modules_of(__name__), Entity, lambda one: one.name)
