"""The splitter: chunks join to the input, never split a record, and depend on the bytes alone."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.splitting import TAIL_SAMPLE_BYTES, Piece, RecordSplitter, chunk_bytes_for

hostile_contents = st.lists(
    st.sampled_from(
        [b"a", b"bc", b",", b'"', b'""', b"\n", b"\r", b"\r\n", b"\n\n", b'"x,\r\ny"', b'"p""q"', b"\0", "ü".encode()]
    ),
    max_size=24,
).map(b"".join)
record_limits = st.integers(1, 40)


def split(
    content: bytes, *, chunk_bytes: int, max_record_bytes: int = 1 << 20, cuts: tuple[int, ...] = (), delimiter: str = ","
) -> list[Piece]:
    splitter = RecordSplitter(
        chunk_bytes=chunk_bytes, max_record_bytes=max_record_bytes, byte_offset=100, first_line=7, delimiter=delimiter
    )
    bounds = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    pieces = [piece for start, end in zip(bounds, bounds[1:], strict=False) for piece in splitter.feed(content[start:end])]
    return [*pieces, *splitter.finish()]


def reference_records(content: bytes, *, max_record_bytes: int) -> tuple[list[bytes], bytes]:
    """Records with their line ends, and the misaligned tail: byte by byte, with a state machine of its own."""
    records: list[bytes] = []
    start, position, state = 0, 0, "field start"
    while position < len(content):
        byte = content[position : position + 1]
        position += 1
        if state == "quoted":
            state = "quote in quoted" if byte == b'"' else state
        elif state == "quote in quoted" and byte == b'"':
            state = "quoted"
        elif byte in (b"\r", b"\n"):
            position += byte == b"\r" and content[position : position + 1] == b"\n"
            if position - start > max_record_bytes:
                return records, content[start:]
            records.append(content[start:position])
            start, state = position, "field start"
        elif state == "stray":
            pass
        elif byte == b",":
            state = "field start"
        elif byte == b'"':
            state = "quoted" if state == "field start" else "stray"
        else:
            state = "stray" if state == "quote in quoted" else "plain"
    rest = content[start:]
    if state == "quoted" or len(rest) > max_record_bytes:
        return records, rest
    return [*records, rest] if rest else records, b""


def reference_chunks(records: list[bytes], *, chunk_bytes: int) -> list[bytes]:
    chunks: list[bytes] = []
    for record in records:
        if chunks and len(chunks[-1]) + len(record) <= chunk_bytes:
            chunks[-1] += record
        else:
            chunks.append(record)
    return chunks


@given(
    content=hostile_contents, chunk_bytes=st.integers(1, 60), max_record_bytes=record_limits, cuts=st.lists(st.integers(0, 99))
)
def test_chunks_are_the_longest_runs_of_whole_records_whatever_is_fed(
    content: bytes, chunk_bytes: int, max_record_bytes: int, cuts: list[int]
) -> None:
    records, tail = reference_records(content, max_record_bytes=max_record_bytes)

    pieces = split(content, chunk_bytes=chunk_bytes, max_record_bytes=max_record_bytes, cuts=tuple(cuts))

    assert [piece.data for piece in pieces if not piece.misaligned_tail] == reference_chunks(records, chunk_bytes=chunk_bytes)
    assert [piece.data for piece in pieces if piece.misaligned_tail] == ([tail] if tail else [])


@given(content=hostile_contents, chunk_bytes=st.integers(1, 60), max_record_bytes=record_limits)
def test_pieces_tile_the_content_and_know_their_lines(content: bytes, chunk_bytes: int, max_record_bytes: int) -> None:
    pieces = split(content, chunk_bytes=chunk_bytes, max_record_bytes=max_record_bytes)

    lengths = [piece.byte_length for piece in pieces]
    assert b"".join(piece.data for piece in pieces) == content
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert [piece.byte_offset for piece in pieces] == list(accumulate(lengths[:-1], initial=100))[: len(pieces)]
    for piece in pieces:
        before = content[: piece.byte_offset - 100].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert piece.first_line == 7 + before.count(b"\n")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_chunk_size_and_feeding_gives_the_same_records(line_end: bytes) -> None:
    records = [b"1,a" + line_end, b'2,"x' + line_end + b'""y,"' + line_end, line_end, b"3," + line_end, b"4,zz"]
    content = b"".join(records)
    for chunk_bytes in range(1, len(content) + 2):
        expected = reference_chunks(records, chunk_bytes=chunk_bytes)
        for step in range(1, len(content) + 1):
            pieces = split(content, chunk_bytes=chunk_bytes, cuts=tuple(range(0, len(content), step)))
            assert [piece.data for piece in pieces] == expected


def test_an_empty_content_has_no_chunk() -> None:
    assert split(b"", chunk_bytes=10) == []


@pytest.mark.parametrize("stray", [b'"ab"cd,1', b'a"b,1', b'a"b,"', b'"a\nb"c,"'])
def test_a_stray_quote_ends_its_record_at_the_next_line_end(stray: bytes) -> None:
    pieces = split(stray + b"\n2,b\n", chunk_bytes=1)

    assert [piece.data for piece in pieces] == [stray + b"\n", b"2,b\n"]


def test_a_quote_that_never_closes_makes_one_tail_after_the_good_chunks() -> None:
    tail = b'2,"b\n' + b"3,c\n" * 40_000

    pieces = split(b"1,a\n" + tail, chunk_bytes=1 << 20, max_record_bytes=1 << 20, cuts=tuple(range(0, 160_000, 1_000)))

    assert [(piece.data, piece.misaligned_tail) for piece in pieces[:-1]] == [(b"1,a\n", False)]
    assert pieces[-1] == Piece(
        index=1, byte_offset=104, byte_length=len(tail), data=tail[:TAIL_SAMPLE_BYTES], first_line=8, misaligned_tail=True
    )


def test_a_record_without_end_is_swallowed_in_bounded_memory_and_its_length_known() -> None:
    splitter = RecordSplitter(chunk_bytes=1 << 16, max_record_bytes=1 << 17, byte_offset=10, first_line=2)
    block = b"x" * (1 << 16)
    for _ in range(300):
        assert splitter.feed(block) == []
        assert len(splitter._buffer) <= (1 << 17) + len(block)

    (tail,) = splitter.finish()

    assert (tail.byte_offset, tail.byte_length, tail.data) == (10, 300 << 16, block)
    assert splitter.end_offset == 10 + (300 << 16)


def test_a_record_longer_than_a_chunk_is_a_chunk_of_its_own() -> None:
    long_record = b'2,"' + b"y\n" * 50_000 + b'"\n'

    pieces = split(b"1,a\n" + long_record + b"3,c", chunk_bytes=10, cuts=tuple(range(0, 100_000, 777)))

    assert [piece.data for piece in pieces] == [b"1,a\n", long_record, b"3,c"]


def test_another_delimiter_opens_fields() -> None:
    pieces = split(b'1;"a\nb"\n2;x,"y\n', chunk_bytes=1, delimiter=";")

    assert [piece.data for piece in pieces] == [b'1;"a\nb"\n', b'2;x,"y\n']


@pytest.mark.parametrize(
    ("object_bytes", "chunk_bytes", "expected"),
    [
        (0, 1 << 20, 1 << 20),
        ((64 << 20) - 1, 1 << 20, 1 << 20),
        (64 << 20, 1 << 20, 2 << 20),
        (10 << 30, 1 << 20, 2 << 20),
        (64 << 20, 3_000_000, 3_500_000),
        (64 << 20, 3_500_000, 3_500_000),
    ],
)
def test_a_large_file_has_chunks_twice_as_long_that_still_fit_into_a_message(
    object_bytes: int, chunk_bytes: int, expected: int
) -> None:
    assert chunk_bytes_for(object_bytes, chunk_bytes=chunk_bytes) == expected
