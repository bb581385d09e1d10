"""What an entity is: the columns of one kind of file, their types, and the key that names a row."""

from dataclasses import dataclass
from enum import Enum

from dataharvest.errors import Misconfigured

LINKED = ("client_reference", "portfolio_reference", "account_number")
"""Columns by which records of one entity belong to those of another."""

_LONGEST_NAME = 63 - len("row__by_delivery")
"""PostgreSQL keeps 63 bytes of a name, the longest of ours is that of the table's index."""


class Kind(Enum):
    """Type of a column: the pattern a cell must match and the PostgreSQL type that keeps it."""

    MONEY = "numeric(19,4)"
    KEY = 'text COLLATE "C"'
    TEXT = "text"
    UUID = "uuid"
    CURRENCY = "character(3)"
    DIGITS = "bigint"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a file and of its table."""

    name: str
    kind: Kind
    mandatory: bool = True
    """A mandatory column must be in the header and its cells must not be empty."""
    aliases: tuple[str, ...] = ()
    """Other header names that mean this column."""
    personal: bool = False
    """Holds personal data; never logged."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """One kind of file."""

    name: str
    columns: tuple[Column, ...]
    natural_key: str
    """Column that names a row within a delivery."""
    required: bool = True
    """Whether a set waits for a delivery of this entity."""

    def __post_init__(self) -> None:
        """Raise Misconfigured for a name that makes others too long for PostgreSQL, which would cut them."""
        if (length := len(self.name.encode())) > _LONGEST_NAME:
            raise Misconfigured(f"Entity {self.name!r}: its name has {length} bytes, {_LONGEST_NAME} are possible.")

    @property
    def table(self) -> str:
        """Table that holds the rows of every delivery of this entity."""
        return f"row_{self.name}"

    @property
    def linked(self) -> tuple[str, ...]:
        """Its columns of `LINKED`."""
        return tuple(column.name for column in self.columns if column.name in LINKED)
