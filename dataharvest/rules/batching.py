"""How many batches a rule of a set is worked in."""

from collections.abc import Mapping

from dataharvest.rules.needs import Work

RECORDS_PER_BATCH = 1_000_000
"""Records of a set that one transform batch covers, about; a batch scans the set's rows once."""
MESSAGES_PER_BATCH = 50_000
"""Clients and portfolios that one publishing batch covers, about."""


def batch_count(record_counts: Mapping[str, int], *, work: Work) -> int:
    """Number of batches, at least 1; relating sees the whole set at once."""
    if work is Work.RELATE:
        return 1
    if work is Work.TRANSFORM:
        return _parts(sum(record_counts.values()), RECORDS_PER_BATCH)
    return _parts(max(record_counts.get("clients", 0), record_counts.get("portfolios", 0)), MESSAGES_PER_BATCH)


def _parts(count: int, size: int) -> int:
    return max(1, -(-count // size))
