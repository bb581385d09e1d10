"""The computations: one module each, found by being there."""

from functools import cache

from dataharvest.plugins import members_by_name, modules_of
from dataharvest.transformers.model import AMOUNT, COUNT, Transformer, transformer

__all__ = ["AMOUNT", "COUNT", "Transformer", "all_transformers", "transformer"]


@cache
def all_transformers() -> dict[str, Transformer]:
    """Every transformer by name, in order of name."""
    return members_by_name(modules_of(__name__), Transformer, lambda one: one.name)
