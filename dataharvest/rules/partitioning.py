"""In which partition a key's messages are: where every Kafka client looks, quick enough for batches; how chunks are dealt out."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SEED, _FACTOR = np.uint32(0x9747B28C), np.uint32(0x5BD1E995)
_WORD_BYTES = 4
_CHUNK_KEY = re.compile(rb"([0-9]{1,19}):([0-9]{1,10})")


def partitions_of(keys: Sequence[bytes], partition_count: int) -> list[int]:
    """For each key its partition, from 0: Kafka's standard murmur2 of the key, as its own clients choose it."""
    found = np.empty(len(keys), dtype=np.int64)
    for length, indexes in _by_length(keys).items():
        data = np.frombuffer(b"".join([keys[index] for index in indexes]), dtype=np.uint8).reshape(len(indexes), length)
        found[indexes] = (_murmur2(data) & 0x7FFFFFFF) % partition_count
    return [int(one) for one in found]


def turn_of_chunk(key: bytes) -> int | None:
    """For the key of a chunk, delivery and index, whose turn it is when partitions are counted round and round; else None.

    Hashed, some partition would have five of the 32 chunks that a tenant has under way, and another none: a small file's only
    chunk would wait behind five, and the end of a large file for the longest queue.
    """
    found = _CHUNK_KEY.fullmatch(key)
    return int(found[1]) + int(found[2]) if found else None


def _by_length(keys: Sequence[bytes]) -> dict[int, list[int]]:
    # A batch's keys are a tenant and a UUID: nearly always all of one length, and hashed word by word side by side.
    indexes = defaultdict(list)
    for index, key in enumerate(keys):
        indexes[len(key)].append(index)
    return indexes


def _murmur2(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The hashes of keys of one length, a key a line; numbers of 32 bits wrap around by themselves."""
    count, length = keys.shape
    whole = length - length % _WORD_BYTES
    words = np.ascontiguousarray(keys[:, :whole]).view("<u4").astype(np.uint32)
    found: npt.NDArray[np.uint32] = np.full(count, _SEED ^ np.uint32(length), dtype=np.uint32)
    for mixed in (words * _FACTOR).T:
        found = found * _FACTOR ^ (mixed ^ mixed >> np.uint32(24)) * _FACTOR
    if whole < length:
        rest = np.zeros((count, _WORD_BYTES), dtype=np.uint8)
        rest[:, : length - whole] = keys[:, whole:]
        found = (found ^ rest.view("<u4").astype(np.uint32)[:, 0]) * _FACTOR
    found = (found ^ found >> np.uint32(13)) * _FACTOR
    return found ^ found >> np.uint32(15)
