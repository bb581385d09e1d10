"""Ranges are sets of indexes, written short."""

from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.ranges import Ranges, covers, union, with_index

indexes = st.sets(st.integers(0, 30))


def ranges_of(members: set[int]) -> Ranges:
    found: Ranges = []
    for index in sorted(members):
        found = with_index(found, index)
    return found


def members_of(ranges: Ranges) -> set[int]:
    return {index for first, last in ranges for index in range(first, last + 1)}


@given(indexes)
def test_the_members_are_those_of_the_set(members: set[int]) -> None:
    assert members_of(ranges_of(members)) == members


@given(indexes)
def test_ranges_are_sorted_and_as_few_as_can_be(members: set[int]) -> None:
    ranges = ranges_of(members)
    assert all(first <= last for first, last in ranges)
    assert all(before[1] + 1 < after[0] for before, after in zip(ranges, ranges[1:], strict=False))


@given(indexes, indexes)
def test_a_union_is_the_union_of_the_sets(first: set[int], second: set[int]) -> None:
    assert union(ranges_of(first), ranges_of(second)) == ranges_of(first | second)


@given(indexes, st.integers(0, 31))
def test_covering_is_holding_every_index_below_the_count(members: set[int], count: int) -> None:
    assert covers(ranges_of(members), count) == (set(range(count)) <= members)


@given(indexes, st.integers(0, 30))
def test_nothing_that_was_given_is_changed(members: set[int], index: int) -> None:
    ranges = ranges_of(members)
    before = [list(one) for one in ranges]
    with_index(ranges, index)
    union(ranges, [[0, 40]])
    assert ranges == before


def test_ten_thousand_chunks_in_order_are_one_range() -> None:
    assert ranges_of(set(range(10_000))) == [[0, 9_999]]
