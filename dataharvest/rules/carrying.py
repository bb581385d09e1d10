"""What a version may take over from its base: results whose inputs are the same, by the same declaration."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import NamedTuple

from dataharvest.entities import LINKED

LINKS_FROM: Mapping[str, tuple[str, ...]] = {
    "portfolios": ("portfolio_reference", "client_reference", "account_number"),
    "clients": ("client_reference",),
    "accounts": ("account_number",),
}
"""Columns from which links, and portfolios without a counterpart, follow."""
ORPHANS_FROM: Mapping[str, tuple[str, ...]] = {
    "accounts": ("account_number",),
    "portfolios": ("account_number",),
    "transactions": ("account_number", "transaction_reference"),
}
"""Columns from which accounts and transactions without a counterpart follow."""
COMPARED_AT_MOST = 1_000_000
"""Records of a delivery that are compared with another's, at most: with more it takes longer than computing anew, by slices."""
CHANGED_AT_MOST = 10_000
"""Clients or portfolios that a batch may name; with more of them changed every message is made and compared."""


class Carried(NamedTuple):
    """What the batches of a rule take over."""

    names: tuple[str, ...] = ()
    """Of ``links``, ``orphans``, ``values`` and ``messages``."""
    references: tuple[str, ...] | None = None
    """The clients or portfolios that are left to be done; None for all."""


NOTHING = Carried()


def is_from_links(entity: str, columns: Collection[str]) -> bool:
    """Whether these columns are read from the links that relating has made, not from the entity's rows."""
    return entity == "portfolios" and set(columns) <= set(LINKED)


def declaration(*parts: object) -> str:
    """A short text that is the same for the same declaration: names, columns, types and the version of its logic."""
    return sha256(repr(parts).encode()).hexdigest()[:16]
