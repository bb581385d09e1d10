"""The computations: one module each, found by being there."""

from functools import cache

from dataharvest.plugins import modules_of
from dataharvest.transformers.model import AMOUNT, COUNT, Transformer, transformer

__all__ = ["AMOUNT", "COUNT", "Transformer", "all_transformers", "transformer"]


@cache
def all_transformers() -> dict[str, Transformer]:
    """Every transformer by name, in order of name."""
    members = [member for module in modules_of(__name__) for member in vars(module).values()]
    found = {member.name: member for member in members if isinstance(member, Transformer)}
    return dict(sorted(found.items()))
