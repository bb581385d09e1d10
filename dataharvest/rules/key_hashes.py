"""Which hashes of natural keys occur more than once: the quick answer to whether a delivery may hold duplicates.

Hashes are shorter than keys, and sorting an array of them is many times faster than grouping keys. Equal keys have equal hashes;
two keys may have one hash, so whatever is found here is only suspected.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

HASH_BYTES = 8
MAX_SUSPECTS = 100_000
"""Of more, all keys are compared rather than theirs."""
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
    copies = hashes[1:][hashes[1:] == hashes[:-1]]
    return np.unique(copies)


def parts(hashes: Hashes, *, part_count: int) -> Iterator[Hashes]:
    """Cut hashes into parts by their value, always in the same places; the array is sorted."""
    hashes.sort()
    lowest, width = -(1 << 63), (1 << 64) // part_count
    places = np.searchsorted(hashes, np.array([lowest + number * width for number in range(1, part_count)], dtype=np.int64))
    start = 0
    for end in (*places.tolist(), len(hashes)):
        yield hashes[start:end]
        start = end
