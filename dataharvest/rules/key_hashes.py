"""Which hashes of natural keys occur more than once: the quick answer to whether a delivery may hold duplicates.

Hashes are shorter than keys, and sorting an array of them is many times faster than grouping keys. Equal keys have equal hashes;
two keys may have one hash, so whatever is found here is only suspected.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

HASH_BYTES = 8
MAX_SUSPECTS = 100_000
"""Of more, none is named."""
COPY_HEADER_BYTES = 19
COPY_ROW_BYTES = 14

_COPY_ROW = np.dtype([("field_count", ">i2"), ("byte_length", ">i4"), ("hash", ">i8")])


def hashes_in(data: bytes) -> Hashes:
    """Hashes as PostgreSQL sends numbers of eight bytes, one after the other."""
    return np.frombuffer(data, dtype=">i8").astype(np.int64)


def hashes_in_rows(data: bytes) -> Hashes:
    """Hashes of whole rows of a binary COPY of one column without NULLs, its header not included."""
    hashes: Hashes = np.frombuffer(data, dtype=_COPY_ROW)["hash"].astype(np.int64)
    return hashes


def repeated(hashes: Hashes) -> Hashes:
    """Those that occur more than once, each once; the array is sorted."""
    hashes.sort()
    return distinct(hashes[1:][hashes[1:] == hashes[:-1]])


def distinct(hashes: Hashes) -> Hashes:
    """Each of them once; they are sorted, so it takes a tenth of what numpy needs for any array."""
    return np.concatenate([hashes[:1], hashes[1:][hashes[1:] != hashes[:-1]]])


def repeated_count(hashes: Hashes) -> int:
    """How many of them occur more than once, each counted as often as it occurs; the array is sorted."""
    hashes.sort()
    is_copy = hashes[1:] == hashes[:-1]
    return int(is_copy.sum()) + len(distinct(hashes[1:][is_copy]))


def thinned(hashes: Hashes) -> Hashes:
    """At most two of each: more say nothing more about whether it occurs more than once. The array is sorted."""
    hashes.sort()
    is_third = hashes[2:] == hashes[:-2]
    # Hardly ever is there any, and a million hashes need not be there twice.
    return np.concatenate([hashes[:2], hashes[2:][~is_third]]) if is_third.any() else hashes


def repeated_in(pieces: Sequence[Hashes]) -> list[Hashes]:
    """Of each piece, which is sorted, the hashes that occur more than once in all together, as often as the piece has them."""
    found = repeated(np.concatenate(pieces))
    if not len(found):
        return [piece[:0] for piece in pieces]
    return [piece[found[np.minimum(np.searchsorted(found, piece), len(found) - 1)] == piece] for piece in pieces]


def parts(hashes: Hashes, *, part_count: int) -> Iterator[Hashes]:
    """Cut hashes into parts by their value, always in the same places; the array is sorted."""
    for start, stop in pairwise(cuts(hashes, part_count=part_count)):
        yield hashes[start:stop]


def cuts(hashes: Hashes, *, part_count: int) -> list[int]:
    """Where each part begins, and where the last one ends; the array is sorted."""
    hashes.sort()
    lowest, width = -(1 << 63), (1 << 64) // part_count
    values = np.array([lowest + number * width for number in range(1, part_count)], dtype=np.int64)
    return [0, *np.searchsorted(hashes, values).tolist(), len(hashes)]


def part_groups(counts: Sequence[int], *, most: int) -> list[tuple[int, int]]:
    """Parts that may be looked at together, from the first to before the second: as many as hold no more than so many hashes.

    One that alone holds more is looked at alone.
    """
    groups: list[tuple[int, int]] = []
    start = total = 0
    for index, count in enumerate(counts):
        if total + count > most and index > start:
            groups.append((start, index))
            start, total = index, 0
        total += count
    return [*groups, (start, len(counts))]


def stored(hashes: Hashes) -> memoryview:
    """Hashes as they are stored, not copied where they are so already; ``stored_hashes`` gives them back."""
    return np.ascontiguousarray(hashes, dtype="<i8").view(np.uint8).data


def stored_hashes(pieces: Sequence[bytes]) -> Hashes:
    """Hashes of several pieces that were stored, together."""
    return np.concatenate([np.frombuffer(piece, dtype="<i8").astype(np.int64, copy=False) for piece in pieces])
