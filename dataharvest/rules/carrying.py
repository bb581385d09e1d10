"""What a version may take over from its base: results whose inputs are the same, by the same declaration."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import NamedTuple

from dataharvest.entities import LINKED, Entity

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
COMPARED_AT_MOST = 400_000
"""Records of a delivery that are compared with another's, at most: it takes some 4 s for a million, and
others wait meanwhile; computing anew goes by slices."""
CHANGED_AT_MOST = 10_000
"""Clients or portfolios that a batch may name; with more of them changed every message is made and compared."""


class Carried(NamedTuple):
    """What the batches of a rule take over."""

    names: tuple[str, ...] = ()
    """Of ``links``, ``orphans``, ``values`` and ``messages``."""
    references: tuple[str, ...] | None = None
    """The clients or portfolios that are left to be done; None for all."""

    @property
    def is_all(self) -> bool:
        """Whether nothing is left to be computed: what is there is copied."""
        return self.names in (("links", "orphans"), ("values",))


NOTHING = Carried()


def is_comparable(entity: Entity) -> bool:
    """Whether each of its records belongs to known clients or portfolios: one that may lack its links might concern any."""
    linked = [column for column in entity.columns if column.name in LINKED]
    return bool(linked) and all(column.mandatory for column in linked)


def is_from_links(entity: str, columns: Collection[str]) -> bool:
    """Whether these columns are read from the links that relating has made, not from the entity's rows."""
    return entity == "portfolios" and set(columns) <= set(LINKED)


def declaration(*parts: object) -> str:
    """A short text that is the same for the same declaration: names, columns, types and the version of its logic."""
    return sha256(repr(parts).encode()).hexdigest()[:16]


RELATED_BY = declaration("relationship", 2, dict(LINKS_FROM), dict(ORPHANS_FROM))
"""The declaration of relating; its number rises when the same records are linked, or found to be orphans, in another way.

Where the links are not taken over nothing is: of what was made while an index could lose rows (ADR 27), all of it by number 1.
"""
