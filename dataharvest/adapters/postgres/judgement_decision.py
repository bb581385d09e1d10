"""What is known of a delivery once all its copies are: the rule by which they go, and what is left of it so far."""

from dataclasses import dataclass
from typing import Any, Self

from dataharvest.contracts.vocabulary import DuplicateRule


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of all rows of a delivery."""

    count: int
    sums: dict[str, str]
    """Exact, of the columns of money."""
    blocks: tuple[int | None, int | None]
    """The first and the last block of the table that may hold rows of it."""

    @classmethod
    def at_once(cls, row: Any) -> Self:
        """What one pass over the rows has found."""
        places = row["first_place"], row["last_place"]
        first, last = (None if place is None else place[0] for place in places)
        return cls(count=row["count"], sums=row["sums"], blocks=(first, last))

    @classmethod
    def in_slices(cls, row: Any) -> Self:
        """What all slices have found together; there may be none."""
        return cls(count=row["count"] or 0, sums=row["sums"], blocks=(row["first_block"], row["last_block"]))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of the copies of a delivery, and how far it has come."""

    rule: DuplicateRule
    copy_count: int
    settled_count: int
    are_readings_known: bool
    """Whether it is known which chunks have to be read again."""
    next_chunk: int | None
    """The first chunk whose copies are not settled; None until the first are."""
    are_copies_settled: bool
    """Whether all are, and what is left is being counted."""
    left: Counted

    @classmethod
    def of(cls, row: Any) -> Self:
        """The decision that is stored as this row."""
        blocks = row["first_block"], row["last_block"]
        left = Counted(count=row["record_count"], sums=row["sums"], blocks=blocks)
        names = ("rule", "copy_count", "settled_count", "are_readings_known", "next_chunk", "are_copies_settled")
        return cls(left=left, **{name: row[name] for name in names})
