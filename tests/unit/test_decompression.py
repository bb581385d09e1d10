"""Decompression: the same content however it is cut, and limits that a bomb cannot pass."""

import gzip
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.rules.decompression import MAX_PIECE_BYTES, decompressor_for

MIB = 1 << 20
PACK: dict[str, Callable[[bytes], bytes]] = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.zst": zstandard.compress}
compressed = pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst"])


def unpack(
    suffix: str, packed: bytes, *, piece_bytes: int = MIB, max_ratio: int = 200, max_content_bytes: int = 1 << 30
) -> bytes:
    decompressor = decompressor_for("t/accounts_20260101" + suffix, max_ratio=max_ratio, max_content_bytes=max_content_bytes)
    pieces: list[bytes] = []
    for start in range(0, len(packed), piece_bytes):
        pieces += decompressor.feed(packed[start : start + piece_bytes])
    decompressor.finish()
    assert all(len(piece) <= MAX_PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


def rule_broken(suffix: str, packed: bytes, **limits: int) -> str:
    with pytest.raises(Rejected) as caught:
        unpack(suffix, packed, **limits)
    return caught.value.rule


@given(
    parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    piece_bytes=st.integers(1, 50),
    suffix=st.sampled_from([*PACK]),
)
def test_parts_one_after_the_other_are_one_content(parts: list[bytes], piece_bytes: int, suffix: str) -> None:
    packed = b"".join(PACK[suffix](part) for part in parts)

    assert unpack(suffix, packed, piece_bytes=piece_bytes) == b"".join(parts)


@pytest.mark.parametrize("suffix", [*PACK])
def test_large_content_comes_in_bounded_pieces(suffix: str) -> None:
    content = b"".join(b"%d,%d\n" % (n, n * n) for n in range(300_000))

    assert unpack(suffix, PACK[suffix](content), piece_bytes=10 * MIB) == content


@compressed
@given(data=st.data())
def test_a_stream_cut_anywhere_is_truncated(suffix: str, data: st.DataObject) -> None:
    packed = PACK[suffix](b"1,2,3\n" * 1000)

    assert rule_broken(suffix, packed[: data.draw(st.integers(0, len(packed) - 1))]) == "truncated_compression"


@compressed
def test_a_second_part_cut_off_is_truncated(suffix: str) -> None:
    packed = PACK[suffix](b"1,2\n")

    assert rule_broken(suffix, packed + packed[:-3]) == "truncated_compression"


@compressed
@pytest.mark.parametrize("packed", [b"record_id,account_number\n" * 9, b"\0" * 99])
def test_what_was_never_compressed_is_corrupt(suffix: str, packed: bytes) -> None:
    assert rule_broken(suffix, packed) == "corrupt_compression"


@compressed
@pytest.mark.parametrize("piece_bytes", [1, MIB])
def test_garbage_behind_the_stream_is_corrupt(suffix: str, piece_bytes: int) -> None:
    assert rule_broken(suffix, PACK[suffix](b"1,2\n") + b"garbage behind", piece_bytes=piece_bytes) == "corrupt_compression"


@pytest.mark.parametrize("piece_bytes", [1, MIB])
def test_zeros_behind_a_gzip_stream_are_padding(piece_bytes: int) -> None:
    packed = gzip.compress(b"1,2\n") + b"\0" * 700

    assert unpack(".csv.gz", packed, piece_bytes=piece_bytes) == b"1,2\n"


def test_a_damaged_gzip_checksum_is_corrupt() -> None:
    packed = bytearray(gzip.compress(b"1,2\n" * 100))
    packed[-6] ^= 1

    assert rule_broken(".csv.gz", bytes(packed)) == "corrupt_compression"


def test_a_skippable_zstd_frame_is_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"

    assert unpack(".csv.zst", skippable + zstandard.compress(b"1,2\n") + skippable) == b"1,2\n"


@compressed
def test_a_bomb_is_refused_in_bounded_memory(suffix: str) -> None:
    packed = PACK[suffix](b"\0" * (256 * MIB))
    tracemalloc.start()

    rule = rule_broken(suffix, packed)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rule == "compression_ratio"
    assert peak < 100 * MIB


@compressed
def test_a_small_content_may_be_of_any_ratio(suffix: str) -> None:
    assert unpack(suffix, PACK[suffix](b"\0" * MIB)) == b"\0" * MIB


@pytest.mark.parametrize("suffix", [*PACK])
def test_content_may_not_be_longer_than_allowed(suffix: str) -> None:
    assert unpack(suffix, PACK[suffix](b"12345"), max_content_bytes=5) == b"12345"
    assert rule_broken(suffix, PACK[suffix](b"123456"), max_content_bytes=5) == "content_too_long"
