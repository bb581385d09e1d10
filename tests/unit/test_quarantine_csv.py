"""The quarantine leaves as a CSV and comes back as corrections."""

from dataclasses import replace
from datetime import date

import pytest

from dataharvest.errors import Rejected
from dataharvest.quarantine import Entry
from dataharvest.quarantine_csv import quarantine_csv, read_corrections

ENTRY = Entry(
    quarantine_id=7,
    delivery_id=3,
    tenant="-acme",
    business_date=date(2026, 11, 23),
    entity="accounts",
    object_key="-acme/accounts_20261123.csv",
    chunk_index=0,
    position=2,
    line=4,
    byte_offset=100,
    byte_length=len(b'=1+1,"M\xfcller; a, b"'),
    column="record_id",
    rule="digits",
    message="record_id is not a number.",
    raw=b'=1+1,"M\xfcller; a, b"',
)


def test_what_was_written_is_read_again() -> None:
    text = quarantine_csv([ENTRY, replace(ENTRY, quarantine_id=8, raw=b"1,2", byte_length=3)])
    assert read_corrections(text.encode()) == [(7, ENTRY.raw), (8, b"1,2")]


def test_no_cell_is_a_formula() -> None:
    cells = quarantine_csv([ENTRY]).splitlines()[1].split(",")
    assert cells[1] == "'-acme"
    assert not any(cell.startswith(("=", "-", "+", "@", '"=')) for cell in cells)


def test_what_is_fixed_is_shown_as_fixed() -> None:
    assert read_corrections(quarantine_csv([replace(ENTRY, content=b"1,x")]).encode()) == [(7, b"1,x")]


@pytest.mark.parametrize(
    "cut",
    [replace(ENTRY, byte_length=10_000_000), replace(ENTRY, position=-1), replace(ENTRY, raw=b"x" * 40_000, byte_length=40_000)],
)
def test_half_a_record_is_not_shown_as_one(cut: Entry) -> None:
    assert read_corrections(quarantine_csv([cut]).encode()) == [(7, b"")]


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_spreadsheet_may_write_it_its_own_way(delimiter: str, end: str) -> None:
    text = end.join(
        [
            delimiter.join(["rule", "quarantine_id", "record"]),
            delimiter.join(["money", "7", "'1|2"]),
            delimiter.join(["", "", ""]),
            "",
        ]
    )
    assert read_corrections(text.encode("utf-8-sig")) == [(7, b"1|2")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: there is no column quarantine_id and none record"),
        (b"quarantine_id\n7\n", "there is no column record"),
        (b"quarantine_id,record\nseven,1\n", "line 2: a quarantine_id, a number, and a record are needed"),
        (b"quarantine_id,record\n7\n", "line 2: a quarantine_id"),
        (b"quarantine_id,record\n7,a\\q\n", "line 2: .* is no escape"),
        (b"quarantine_id,record\n7,a\n7,b\n", "entry 7 is in it twice"),
        (b"quarantine_id,record\n7,M\xfcller\n", "it is not UTF-8"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_line(content: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=f"The CSV can't be used: .*{reason}"):
        read_corrections(content)


def test_a_record_longer_than_what_csv_readers_take_by_default_is_read() -> None:
    content = b"quarantine_id,record\n7," + b"x" * 200_000 + b"\n"
    assert len(read_corrections(content)[0].content) == 200_000
