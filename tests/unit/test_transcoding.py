"""Content in other encodings as UTF-8, wherever the pieces were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.rules.transcoding import transcoder_for

TEXT = 'record_id,last_name\r\n1,Müller\r\n2,"€"\r\n'
PYTHON_NAMES = {"utf-16": "utf-16-le", "iso-8859-1": "iso-8859-1", "windows-1252": "windows-1252"}


def transcoded(content: bytes, encoding: str, *, cut: int = 7) -> bytes:
    transcoder = transcoder_for(encoding)
    pieces = [transcoder.feed(content[start : start + cut]) for start in range(0, len(content), cut)]
    return b"".join(pieces) + transcoder.finish()


LETTERS = {"utf-16": 'r,;"\r\nüÿ€漢😀\0', "iso-8859-1": 'r,;"\r\nüÿ\x85\0', "windows-1252": 'r,;"\r\nüÿ€\0'}


@pytest.mark.parametrize("encoding", PYTHON_NAMES)
@given(data=st.data(), cut=st.integers(1, 9))
def test_the_text_stays_the_same_however_it_is_cut(encoding: str, data: st.DataObject, cut: int) -> None:
    # The first character of a header is ASCII: it tells the byte order.
    text = "r" + data.draw(st.text(LETTERS[encoding]))

    assert transcoded(text.encode(PYTHON_NAMES[encoding]), encoding, cut=cut).decode() == text


@pytest.mark.parametrize("python_name", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_utf16_is_read_in_either_byte_order_with_or_without_its_mark(python_name: str, mark: str) -> None:
    assert transcoded((mark + TEXT).encode(python_name), "utf-16") == TEXT.encode()


def test_utf8_is_handed_on_as_it_is() -> None:
    assert transcoded(b"a,\xff\n", "utf-8") == b"a,\xff\n"


def test_an_undefined_byte_leaves_its_line_alone_in_not_being_utf8() -> None:
    lines = transcoded(b"r,\xfc\n1,\x81\n2,\xe9\n", "windows-1252").split(b"\n")

    assert lines == ["r,ü".encode(), b"1,\x81", "2,é".encode(), b""]
    with pytest.raises(UnicodeDecodeError):
        lines[1].decode()


def test_half_a_surrogate_pair_leaves_its_line_alone_in_not_being_utf8() -> None:
    content = "r,a\n1,".encode("utf-16-le") + b"\x3d\xd8" + "\n2,b\n".encode("utf-16-le")

    lines = transcoded(content, "utf-16").split(b"\n")

    assert (lines[0], lines[2]) == (b"r,a", b"2,b")
    with pytest.raises(UnicodeDecodeError):
        lines[1].decode()


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_content_that_ends_inside_a_character_is_rejected_with_its_line(cut: int) -> None:
    with pytest.raises(Rejected) as caught:
        transcoded(TEXT.encode("utf-16-le")[:-3], "utf-16", cut=cut)

    assert (caught.value.rule, caught.value.details["line"]) == ("encoding", 3)


@pytest.mark.parametrize("content", [b"r", b"record_id,last_name\n", b"\xef\xbb\xbfrecord_id\n", b"\x1f\x8b\x08\x00"])
def test_content_that_is_not_utf16_is_rejected(content: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        transcoded(content, "utf-16")

    assert (caught.value.rule, caught.value.details["line"]) == ("encoding", 1)


def test_nothing_becomes_nothing() -> None:
    assert [transcoded(b"", encoding) for encoding in ("utf-8", *PYTHON_NAMES)] == [b""] * 4


@pytest.mark.parametrize("encoding", PYTHON_NAMES)
@given(content=st.binary(max_size=40), cut=st.integers(1, 9))
def test_any_bytes_become_the_same_or_are_rejected_however_they_are_cut(encoding: str, content: bytes, cut: int) -> None:
    def outcome(piece_bytes: int) -> bytes | str:
        try:
            return transcoded(content, encoding, cut=piece_bytes)
        except Rejected as reason:
            return reason.rule

    assert outcome(cut) == outcome(1000)
