"""A record's bytes survive a terminal, a spreadsheet and the way back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.rules.record_text import as_cell, from_cell, harmless, record_bytes, record_text

records = st.one_of(
    st.binary(max_size=60), st.text(max_size=40).map(str.encode), st.sampled_from([b"=1+1", b"'=1", b"''", b"\\"])
)


@given(records)
def test_any_bytes_come_back(record: bytes) -> None:
    assert record_bytes(record_text(record)) == record


@given(records)
def test_the_text_is_one_visible_line(record: bytes) -> None:
    text = record_text(record)
    assert text.isprintable() or " " in text or any(character > "\x7f" for character in text)
    assert len(text.splitlines()) <= 1


@given(records, st.booleans())
def test_a_cell_comes_back_whether_or_not_the_spreadsheet_takes_the_apostrophe_for_a_mark(record: bytes, takes: bool) -> None:
    cell = as_cell(record_text(record))
    assert not cell.startswith(("=", "+", "-", "@"))
    assert record_bytes(from_cell(cell.removeprefix("'") if takes else cell)) == record


@given(records)
def test_a_cell_survives_csv(record: bytes) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerow([as_cell(record_text(record))])
    [[cell]] = csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=";")
    assert record_bytes(from_cell(cell)) == record


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"1,M\xc3\xbcller", "1,Müller"),
        (b"1,M\xfcller", r"1,M\xfcller"),
        (b'"a\r\nb"\t\\', r'"a\r\nb"\t\\'),
        (b"a\x00\x1b[31m", r"a\x00\x1b[31m"),
        ("\u202eabc".encode(), r"\xe2\x80\xaeabc"),
    ],
)
def test_what_cannot_be_seen_is_written_out(record: bytes, text: str) -> None:
    assert record_text(record) == text


@pytest.mark.parametrize("text", ["\\", r"a\q", r"\x1", r"\xzz", "a\\"])
def test_half_an_escape_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="is no escape") as refused:
        record_bytes(text)
    assert refused.value.rule == "unknown_escape"


def test_only_what_looks_like_a_formula_is_marked_where_nobody_edits() -> None:
    assert [harmless(text) for text in ("=1", "-x", "@a", "a=1", "")] == ["'=1", "'-x", "'@a", "a=1", ""]
