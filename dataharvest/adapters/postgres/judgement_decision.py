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
    left: Counted

    @classmethod
    def of(cls, row: Any) -> Self:
        """The decision that is stored as this row."""
        blocks = row["first_block"], row["last_block"]
        left = Counted(count=row["record_count"], sums=row["sums"], blocks=blocks)
        names = ("rule", "copy_count", "settled_count", "are_readings_known", "next_chunk")
        return cls(left=left, **{name: row[name] for name in names})
