"""How many batches a rule of a set is worked in, and which rows a slice goes through."""

from collections.abc import Mapping

from dataharvest.rules.needs import Work

RECORDS_PER_BATCH = 1_000_000
"""Records of a set that one transform batch covers, about; a batch scans the set's rows once."""
RECORDS_PER_SLICE = 500_000
"""Records of a set that one slice of relating goes through, about."""
MESSAGES_PER_BATCH = 50_000
"""Clients and portfolios that one publishing batch covers, about."""
CARRIED_AT_ONCE = 500_000
"""Clients or portfolios, at most, whose links or values one batch takes over: a second of work. Each of more would read all."""
SMALL_RECORDS = 5_000
"""Records, at most, of which something takes some milliseconds: it is done where it is found to be due, without a message of its
own."""

_NO_BLOCK = 0xFFFF_FFFF
"""The number that no block of a table has; all are below it."""


def batch_count(record_counts: Mapping[str, int], *, work: Work) -> int:
    """Number of batches, at least 1."""
    if work is Work.RELATE:
        return _parts(sum(record_counts.values()), RECORDS_PER_SLICE)
    if work is Work.TRANSFORM:
        return _parts(sum(record_counts.values()), RECORDS_PER_BATCH)
    return _parts(max(record_counts.get("clients", 0), record_counts.get("portfolios", 0)), MESSAGES_PER_BATCH)


def can_carry_at_once(record_counts: Mapping[str, int]) -> bool:
    """Whether one batch may take over all links, or all values of a rule."""
    return max(record_counts.get("clients", 0), record_counts.get("portfolios", 0)) <= CARRIED_AT_ONCE


def block_range(first: int, last: int, *, part: int, part_count: int) -> tuple[int, int]:
    """Blocks of a table that a part goes through, from the first to before the second.

    The parts divide the blocks from ``first`` to ``last`` evenly; together they are the whole table, for a row may have been
    added elsewhere since.
    """
    length = last - first + 1
    start = first + length * part // part_count if part else 0
    stop = first + length * (part + 1) // part_count if part + 1 < part_count else _NO_BLOCK
    return start, stop


def _parts(count: int, size: int) -> int:
    return max(1, -(-count // size))
