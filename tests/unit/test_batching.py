"""A small set is one batch; a large one is as many as its records ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.batching import (
    MESSAGES_PER_BATCH,
    RECORDS_PER_BATCH,
    RECORDS_PER_SLICE,
    SMALL_RECORDS,
    batch_count,
    block_range,
)
from dataharvest.rules.needs import Work

counts = st.dictionaries(st.sampled_from(["accounts", "clients", "portfolios", "transactions"]), st.integers(0, 10**8))


@given(counts, st.sampled_from(Work))
def test_batches_are_as_few_as_hold_everything(record_counts: dict[str, int], work: Work) -> None:
    number = batch_count(record_counts, work=work)
    size, total = {Work.RELATE: RECORDS_PER_SLICE}.get(work, RECORDS_PER_BATCH), sum(record_counts.values())
    if work is Work.PUBLISH:
        size, total = MESSAGES_PER_BATCH, max(record_counts.get("clients", 0), record_counts.get("portfolios", 0))
    assert number >= 1
    assert number * size >= total
    assert number == 1 or (number - 1) * size < total


@pytest.mark.parametrize(
    ("record_counts", "work", "expected"),
    [
        ({}, Work.TRANSFORM, 1),
        ({"accounts": 2, "transactions": 499_998}, Work.RELATE, 1),
        ({"accounts": 3, "transactions": 499_998}, Work.RELATE, 2),
        ({"accounts": 300_000, "portfolios": 300_000, "clients": 100_000, "transactions": 3_000_000}, Work.RELATE, 8),
        ({"accounts": 2, "transactions": 999_998}, Work.TRANSFORM, 1),
        ({"accounts": 3, "transactions": 999_998}, Work.TRANSFORM, 2),
        ({"transactions": 10_000_000, "clients": 50_000, "portfolios": 50_000}, Work.PUBLISH, 1),
        ({"clients": 50_001}, Work.PUBLISH, 2),
        ({"clients": 1, "portfolios": 200_000}, Work.PUBLISH, 4),
    ],
)
def test_examples(record_counts: dict[str, int], work: Work, expected: int) -> None:
    assert batch_count(record_counts, work=work) == expected


@pytest.mark.parametrize("work", Work)
def test_what_is_done_at_once_is_one_batch_of_whatever_rule(work: Work) -> None:
    assert batch_count(dict.fromkeys(["clients", "portfolios"], SMALL_RECORDS), work=work) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 50))
def test_parts_of_a_table_follow_each_other_and_are_even(first: int, length: int, part_count: int) -> None:
    ranges = [block_range(first, first + length, part=part, part_count=part_count) for part in range(part_count)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 0xFFFF_FFFF
    assert all(stop == start for (_, stop), (start, _) in zip(ranges, ranges[1:], strict=False))
    within = [min(stop, first + length + 1) - max(start, first) for start, stop in ranges]
    assert max(within) - min(within) <= 1
