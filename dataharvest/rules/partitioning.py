"""In which partition a key's messages are: the answer that every Kafka client gives, quick enough for whole batches."""

from functools import cache
from struct import Struct

_MASK = 0xFFFFFFFF
_SEED, _FACTOR, _SHIFT = 0x9747B28C, 0x5BD1E995, 24


def partition_of(key: bytes, partition_count: int) -> int:
    """The partition, from 0: Kafka's standard murmur2 of the key, as its own clients choose it."""
    return (_murmur2(key) & 0x7FFFFFFF) % partition_count


def _murmur2(data: bytes) -> int:
    length = len(data)
    whole = length & ~3
    found = _SEED ^ length
    for word in _words(whole // 4).unpack_from(data):
        mixed = word * _FACTOR & _MASK
        found = found * _FACTOR & _MASK ^ (mixed ^ mixed >> _SHIFT) * _FACTOR & _MASK
    if whole < length:
        found = (found ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    found = (found ^ found >> 13) * _FACTOR & _MASK
    return found ^ found >> 15


@cache
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")
