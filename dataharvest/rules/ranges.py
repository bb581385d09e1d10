"""Sets of chunk indexes as sorted ranges, so that ten thousand chunks take no more room than their gaps."""

from collections.abc import Sequence

Ranges = list[list[int]]
"""``[[0, 1203], [1205, 1207]]``: first and last index of each run, both included."""


def with_index(ranges: Sequence[Sequence[int]], index: int) -> Ranges:
    """The set with one more index; the same set when it is there already."""
    return union(ranges, [[index, index]])


def union(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> Ranges:
    """Both sets together, runs that touch joined."""
    merged: Ranges = []
    for start, end in sorted([*map(tuple, first), *map(tuple, second)]):
        if merged and start <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def covers(ranges: Sequence[Sequence[int]], count: int) -> bool:
    """Whether every index from 0 to ``count - 1`` is in the set."""
    return count == 0 or any(start <= 0 and end >= count - 1 for start, end in ranges)
