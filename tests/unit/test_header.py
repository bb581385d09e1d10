"""The header record: which columns a file has, or why it is rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.header import MAX_HEADER_BYTES, Header, read_header

ACCOUNTS = all_entities()["accounts"]
CLIENTS = all_entities()["clients"]
NAMES = ("record_id", "account_number", "cash_balance", "currency", "taxes_paid")
LINE = ",".join(NAMES).encode()


def read(start: bytes, *, at_end: bool = True) -> Header | None:
    return read_header(start, entity=ACCOUNTS, at_end=at_end)


def rejection(start: bytes, *, at_end: bool = True) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(start, at_end=at_end)
    return caught.value


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_data_begins_behind_the_header(bom: bytes, line_end: bytes) -> None:
    header = read(bom + LINE + line_end + b"1,2")

    assert header == Header(columns=NAMES, ignored=(), byte_length=len(bom + LINE + line_end), line_count=1, raw=LINE)


def test_a_file_may_be_its_header_alone() -> None:
    header = read(b"\n" + LINE)

    assert header == Header(columns=NAMES, ignored=(), byte_length=1 + len(LINE), line_count=2, raw=LINE)


def test_blank_lines_before_the_header_are_counted_as_lines() -> None:
    header = read(b"\xef\xbb\xbf\r\n\n\r" + LINE + b"\n")

    assert header
    assert (header.byte_length, header.line_count) == (3 + 4 + len(LINE) + 1, 4)


def test_names_decide_in_any_order_case_and_quotes_and_by_alias() -> None:
    header = read(b'"Currency", TAXES_PAID ,"accout_number",record_id,Cash_Balance\n')

    assert header
    assert header.columns == ("currency", "taxes_paid", "account_number", "record_id", "cash_balance")


def test_unknown_columns_are_ignored_and_named_as_in_the_file() -> None:
    header = read(b"Branch," + LINE + ',"Größe\n""x""",\n'.encode())

    assert header
    assert header.columns == (None, *NAMES, None, None)
    assert header.ignored == ("Branch", 'Größe\n"x"', "")
    assert header.line_count == 2


def test_optional_columns_may_be_missing() -> None:
    header = read_header(b"client_reference,record_id,tax_free_allowance\n", entity=CLIENTS, at_end=True)

    assert header
    assert header.columns == ("client_reference", "record_id", "tax_free_allowance")


@given(cut=st.integers(0, len(LINE) + 5))
def test_more_is_asked_for_until_the_header_is_whole(cut: int) -> None:
    content = b"\xef\xbb\xbf" + LINE + b"\r\n"

    header = read(content[:cut], at_end=False)

    assert (header is None) == (cut < len(content))
    assert header is None or header.byte_length == len(content)


def test_a_short_header_at_the_end_is_judged() -> None:
    assert rejection(b"record_id,account_number").details["columns"] == ("cash_balance", "currency", "taxes_paid")


@pytest.mark.parametrize("start", [b"", b"\n\r\n\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_any_record_is_empty(start: bytes) -> None:
    assert rejection(start).rule == "empty_file"


@pytest.mark.parametrize(
    ("start", "rule", "line", "column"),
    [
        (LINE.decode().encode("utf-16"), "encoding", 1, None),
        (b"\xfe\xff" + LINE.decode().encode("utf-16-be"), "encoding", 1, None),
        (b"\n" + LINE + b",gr\xf6\xdfe\n", "encoding", 2, None),
        (LINE.decode().encode("utf-16-le"), "not_text", 1, None),
        (b"\x1f\x8b\x08\x00\x00\n", "not_text", 1, None),
        (b"PK\x03\x04" + LINE + b"\n", "not_text", 1, None),
        (b"record_id,currency\n1,EUR\n", "missing_column", 1, "account_number"),
        (LINE + b",RECORD_ID\n", "repeated_column", 1, "record_id"),
        (LINE + b",accout_number\n", "repeated_column", 1, "account_number"),
        (LINE + b',a"b\n', "stray_quote", 1, None),
        (b'"record_id"x,' + LINE + b"\n", "stray_quote", 1, None),
        (b'"' + LINE + b"\n1,2\n", "stray_quote", 1, None),
        (b"\n" + LINE + b"," + b"x" * MAX_HEADER_BYTES + b"\n", "header_too_long", 2, None),
    ],
)
def test_a_bad_header_rejects_the_file(start: bytes, rule: str, line: int, column: str | None) -> None:
    rejected = rejection(start)

    assert (rejected.rule, rejected.details["line"], rejected.details.get("column")) == (rule, line, column)


def test_a_header_without_end_is_not_read_for_ever() -> None:
    assert rejection(b'"' + b"x" * MAX_HEADER_BYTES, at_end=False).rule == "header_too_long"


def test_binary_bytes_are_recognised_before_a_line_ends() -> None:
    assert rejection(b"\x89PNG\x00\x00", at_end=False).rule == "not_text"


def test_another_delimiter_parts_the_names() -> None:
    header = read_header(LINE.replace(b",", b";"), entity=ACCOUNTS, at_end=True, delimiter=";")

    assert header
    assert header.columns == NAMES
