"""The kinds of file: one module each, found by being there."""

from functools import cache

from dataharvest.entities.model import Column, Entity, Kind
from dataharvest.plugins import modules_of

__all__ = ["Column", "Entity", "Kind", "all_entities"]


@cache
def all_entities() -> dict[str, Entity]:
    """Every entity by name, in order of name."""
    found = [module.ENTITY for module in modules_of(__name__) if hasattr(module, "ENTITY")]
    return {entity.name: entity for entity in sorted(found, key=lambda entity: entity.name)}
