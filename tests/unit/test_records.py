"""The record check: every record is stored or quarantined, each judged by itself."""

import csv
import io
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import Column, Entity, Kind, all_entities
from dataharvest.rules.records import MAX_RAW_BYTES, CheckedChunk, QuarantinedRecord, check_chunk, check_in_steps

TRANSACTIONS = all_entities()["transactions"]
CLIENTS = all_entities()["clients"]
COLUMNS: tuple[str | None, ...] = ("record_id", "account_number", "transaction_reference", "amount", "keyword")
CLIENT_COLUMNS: tuple[str | None, ...] = ("record_id", "first_name", "last_name", "client_reference", "tax_free_allowance")
HEADER = b"record_id,account_number,transaction_reference,amount,keyword"
GOOD = b"1,12345678,14e56786,5000,DEPOSIT"
CLIENT_ID = b"9e40659b-6d5a-4f3c-8a6d-0123456789ab"


def check(data: bytes, **changes: Any) -> CheckedChunk:
    arguments: dict[str, Any] = {
        "entity": TRANSACTIONS,
        "columns": COLUMNS,
        "first_line": 2,
        "byte_offset": 62,
        "header_raw": HEADER,
    }
    return check_chunk(data, **(arguments | changes))


def copied_rows(text: bytes) -> list[list[str | None]]:
    """What PostgreSQL reads from COPY text with a comma as delimiter and the empty string as NULL."""
    assert text == b"" or text.endswith(b"\n")
    escapes = {"n": "\n", "r": "\r", "t": "\t"}
    rows: list[list[str | None]] = []
    for line in re.findall(r"((?:[^\\\n]|\\.)*)\n", text.decode()):
        cells = re.findall(r"(?:^|,)((?:[^\\,]|\\.)*)", line)
        rows.append([re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), cell) or None for cell in cells])
    return rows


def only(checked: CheckedChunk) -> QuarantinedRecord:
    (entry,) = checked.quarantined
    return entry


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
good_cells = st.tuples(
    st.integers(0, 10**18 - 1).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=64),
    st.from_regex(r"[0-9a-f]{1,64}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", fullmatch=True, alphabet=st.characters(codec="ascii")),
    names.filter(bool),
)
lines = st.sampled_from(
    [
        GOOD,
        b"2,3,4,-5.25,TAX",
        b'3,"4","5",6,"a,b"',
        b'4,5,6,7,"x\ny"',
        b'5,6,7,8,"say ""hi"""',
        b"6,7,8,9,back\\slash",
        b"7,8,9,NaN,FEE",
        b"8,9,,1,FEE",
        b"9,1,2,3",
        b"9,1,2,3,4,5",
        b'1,2,"3"x,4,5',
        b"1,2,3,4,\xff",
        b"1,2,3,4,\0",
        b"1,2,3,4,M\xc3\xbcller",
        b"",
        HEADER,
    ]
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(rows=st.lists(good_cells, max_size=8), line_end=st.sampled_from(["\n", "\r\n", "\r"]), quote_all=st.booleans())
def test_well_formed_records_are_stored_as_pythons_csv_module_reads_them(
    rows: list[tuple[str, ...]], line_end: str, quote_all: bool
) -> None:
    file = io.StringIO(newline="")
    # Left to itself, the writer does not quote a CR or LF that is not in its line end.
    quote_all |= any(end in cell for row in rows for cell in row for end in "\r\n")
    csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(rows)

    checked = check(file.getvalue().encode())

    expected = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert checked.quarantined == ()
    assert copied_rows(checked.copy_text) == expected == [list(row) for row in rows]


@given(content=st.lists(st.tuples(lines, line_ends), max_size=12))
def test_a_record_is_judged_alike_alone_and_among_others(content: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(line + end for line, end in content)

    checked = check(data)

    alone = [check(line + end) for line, end in content]
    assert checked.copy_text == b"".join(one.copy_text for one in alone)
    assert [(entry.rule, entry.raw) for entry in checked.quarantined] == [
        (entry.rule, entry.raw) for one in alone for entry in one.quarantined
    ]
    assert checked.record_count == checked.persisted_count + len(checked.quarantined) == sum(bool(line) for line, _ in content)
    assert len(copied_rows(checked.copy_text)) == checked.persisted_count


@given(content=st.lists(st.tuples(lines, line_ends), max_size=12))
def test_a_quarantined_record_is_found_where_it_says(content: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(line + end for line, end in content)

    for entry in check(data).quarantined:
        start = entry.byte_offset - 62
        before = data[:start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert data[start : start + entry.byte_length] == entry.raw
        assert entry.line == 2 + before.count(b"\n")


@given(content=st.lists(st.tuples(lines, line_ends), max_size=12), step_bytes=st.integers(1, 80))
def test_it_does_not_matter_where_a_step_ends(content: list[tuple[bytes, bytes]], step_bytes: int) -> None:
    data = b"".join(line + end for line, end in content)
    assert check(data, step_bytes=step_bytes) == check(data)


@given(data=st.lists(st.sampled_from([b"1", b",", b'"', b"\n", b"\r", b"\\", b"\xff", b"\0", GOOD, b"1,2,3,4,5"])).map(b"".join))
def test_no_bytes_break_the_check_or_the_count(data: bytes) -> None:
    checked = check(data)

    assert checked.record_count == checked.persisted_count + len(checked.quarantined)
    assert [len(row) for row in copied_rows(checked.copy_text)] == [5] * checked.persisted_count


@given(rows=st.lists(good_cells.filter(lambda row: not re.search(r'[",\\\r\n]', "".join(row))), min_size=1, max_size=8))
def test_the_fast_way_and_the_record_by_record_way_agree(rows: list[tuple[str, ...]]) -> None:
    fast = check("".join(",".join(row) + "\n" for row in rows).encode())
    # A backslash in the last cell keeps every record off the fast patterns.
    slow = check("".join(",".join(row) + "\\\n" for row in rows).encode())

    assert copied_rows(fast.copy_text) == [list(row) for row in rows]
    assert copied_rows(slow.copy_text) == [[*row[:4], row[4] + "\\"] for row in rows]
    assert fast.persisted_count == slow.persisted_count == len(rows)


@pytest.mark.parametrize(
    ("record", "rule", "column"),
    [
        (b'1,2,"ab"cd,4,TAX', "stray_quote", "transaction_reference"),
        (b'1,2,a"b,4,TAX', "stray_quote", "transaction_reference"),
        (b'1,2,3,4,5,6,a"b', "stray_quote", None),
        (b"1,2,3,4", "too_few_fields", None),
        (b" ", "too_few_fields", None),
        (b"1,2,3,4,TAX,6", "too_many_fields", None),
        (HEADER, "repeated_header", None),
        (b"1,2,3,4,M\xfcller", "encoding", "keyword"),
        (b"1,2,3,4,\xed\xa0\x80", "encoding", "keyword"),
        (b"1,2\0,3,4,TAX", "nul", "account_number"),
        (b"1,2,3,4,", "missing_value", "keyword"),
        (b'1,"",3,4,TAX', "missing_value", "account_number"),
        (b"1,2,3,,TAX", "missing_value", "amount"),
        (b"1,%b,3,4,TAX" % (b"x" * 65), "key", "account_number"),
        (b"-1,2,3,4,TAX", "digits", "record_id"),
        (b"1234567890123456789,2,3,4,TAX", "digits", "record_id"),
        *[
            (b"1,2,3,%b,TAX" % amount, "money", "amount")
            for amount in [
                b"NaN",
                b"sNaN",
                b"Infinity",
                b"1_000.00",
                "１２".encode(),
                "١٢".encode(),
                b"1E+5",
                b"1E+20000000",
                b"9" * 16,
                b"9" * 5000,
                b"1.00005",
                b"+1",
                b" 1",
                b"1 ",
                b".5",
                b"5.",
                b"--1",
                b"-",
                b"0x1",
                b"1.2.3",
                b"five",
            ]
        ],
    ],
)
def test_a_broken_rule_quarantines_that_record_alone(record: bytes, rule: str, column: str | None) -> None:
    checked = check(GOOD + b"\n" + record + b"\n" + GOOD)

    entry = only(checked)
    assert (entry.rule, entry.column, entry.raw) == (rule, column, record)
    assert (entry.position, entry.line, entry.byte_offset, entry.byte_length) == (1, 3, 62 + len(GOOD) + 1, len(record))
    assert checked.copy_text == (GOOD + b"\n") * 2
    assert (checked.record_count, checked.persisted_count) == (3, 2)


@pytest.mark.parametrize(
    ("cells", "rule", "column"),
    [
        ({"account_number": b"A", "currency": b"eur"}, "currency", "currency"),
        ({"account_number": b"A", "currency": "ÜRO".encode()}, "currency", "currency"),
        ({"account_number": b"A", "currency": b"EURO"}, "currency", "currency"),
    ],
)
def test_a_currency_is_three_capital_ascii_letters(cells: dict[str, bytes], rule: str, column: str) -> None:
    columns = ("record_id", "account_number", "cash_balance", "currency", "taxes_paid")
    row = b"1,%b,2,%b,3\n" % (cells["account_number"], cells["currency"])

    entry = only(check(row, entity=all_entities()["accounts"], columns=columns))

    assert (entry.rule, entry.column) == (rule, column)


@pytest.mark.parametrize("reference", [CLIENT_ID[:-1], CLIENT_ID + b"0", CLIENT_ID.replace(b"-", b""), b"{" + CLIENT_ID + b"}"])
def test_a_uuid_has_its_hyphens_and_digits(reference: bytes) -> None:
    entry = only(check(b"1,Frida,Kahlo," + reference + b",801\n", entity=CLIENTS, columns=CLIENT_COLUMNS))

    assert (entry.rule, entry.column) == ("uuid", "client_reference")


def test_an_empty_optional_cell_is_null_quoted_or_not() -> None:
    rows = b'1,,"",%b,801\n2,"",,%b,"802"\n' % (CLIENT_ID, CLIENT_ID.upper())

    checked = check(rows, entity=CLIENTS, columns=CLIENT_COLUMNS)

    assert copied_rows(checked.copy_text) == [
        ["1", None, None, CLIENT_ID.decode(), "801"],
        ["2", None, None, CLIENT_ID.decode().upper(), "802"],
    ]


def test_a_message_shows_the_start_of_a_value() -> None:
    entry = only(check(b"1,2,3," + b"9" * 5000 + b",TAX\n"))

    assert entry.message == f"amount is not an amount of at most 15 digits and 4 decimals: '{'9' * 40}'…."


def test_a_message_never_shows_a_personal_value() -> None:
    entity = Entity(
        name="people",
        natural_key="name",
        columns=(Column(name="name", kind=Kind.KEY, personal=True), Column(name="age", kind=Kind.DIGITS)),
    )

    entry = only(check(b"Frida" * 20 + b",47\n", entity=entity, columns=("name", "age"), header_raw=b"name,age"))

    assert "Frida" not in entry.message


def test_the_header_is_found_again_where_it_could_pass_for_a_record() -> None:
    entity = Entity(
        name="notes", natural_key="id", columns=(Column(name="id", kind=Kind.KEY), Column(name="note", kind=Kind.TEXT))
    )

    checked = check(b"1,x\nid,note\n2,y\n", entity=entity, columns=("id", "note"), header_raw=b"id,note")

    assert [(entry.rule, entry.position) for entry in checked.quarantined] == [("repeated_header", 1)]
    assert checked.copy_text == b"1,x\n2,y\n"


def test_a_key_does_not_run_over_a_line_end() -> None:
    checked = check(GOOD + b"\n1,2\n3,4,5,TAX\n" + GOOD)

    assert [(entry.rule, entry.raw) for entry in checked.quarantined] == [
        ("too_few_fields", b"1,2"),
        ("too_few_fields", b"3,4,5,TAX"),
    ]
    assert checked.copy_text == (GOOD + b"\n") * 2


def test_blank_lines_and_a_single_column_are_told_apart() -> None:
    entity = Entity(name="words", natural_key="word", columns=(Column(name="word", kind=Kind.TEXT, mandatory=False),))

    checked = check(b'\n\na\n\r\nb\r"c"\n', entity=entity, columns=("word",), header_raw=b"word")

    assert (checked.copy_text, checked.record_count) == (b"a\nb\nc\n", 3)


@pytest.mark.parametrize("extra", [b"x", "ü".encode(), b'"a,b"', b"back\\slash", b""])
def test_ignored_columns_are_left_out_wherever_they_stand(extra: bytes) -> None:
    columns = (None, "record_id", "account_number", None, "transaction_reference", "amount", "keyword", None)
    row = b",".join([extra, b"1", b"2", extra, b"3", b"4", b"TAX", extra])

    checked = check(row + b"\n", columns=columns)

    assert (checked.copy_columns, checked.copy_text) == (COLUMNS, b"1,2,3,4,TAX\n")


def test_the_order_of_columns_is_the_files() -> None:
    checked = check(b"TAX,1,2,3,4.5\n", columns=("keyword", "record_id", "account_number", "transaction_reference", "amount"))

    assert checked.copy_columns == ("keyword", "record_id", "account_number", "transaction_reference", "amount")
    assert checked.copy_text == b"TAX,1,2,3,4.5\n"


def test_another_delimiter_leaves_commas_in_the_text() -> None:
    checked = check(b'1;2;3;4;TAX\n2;3;4;5;a,b\n3;4;5;6;"c;d"\n', delimiter=";")

    assert copied_rows(checked.copy_text) == [
        ["1", "2", "3", "4", "TAX"],
        ["2", "3", "4", "5", "a,b"],
        ["3", "4", "5", "6", "c;d"],
    ]


def test_a_lone_backslash_and_dot_does_not_end_the_copy() -> None:
    entity = Entity(name="words", natural_key="word", columns=(Column(name="word", kind=Kind.TEXT),))

    assert check(b"\\.\n", entity=entity, columns=("word",), header_raw=b"word").copy_text == b"\\\\.\n"


def test_a_misaligned_tail_is_one_quarantined_record() -> None:
    checked = check(b'1,"2\n', misaligned_tail=True, byte_length=1 << 30)

    entry = only(checked)
    assert (entry.rule, entry.byte_offset, entry.byte_length, entry.raw) == ("misaligned_tail", 62, 1 << 30, b'1,"2\n')
    assert (checked.record_count, checked.persisted_count, checked.copy_text) == (1, 0, b"")


def test_a_quarantined_record_keeps_its_first_64_kib() -> None:
    record = b"1,2,3,4," + b"\xff" * 100_000

    entry = only(check(record + b"\n"))

    assert (entry.raw, entry.byte_length) == (record[:MAX_RAW_BYTES], len(record))


@pytest.mark.parametrize("ignored_count", [1, 16, 17, 18, 10_000])
def test_ignored_columns_cost_little_however_many_and_change_no_row(ignored_count: int) -> None:
    started = time.monotonic()
    columns = (*COLUMNS[:2], *(None,) * ignored_count, *COLUMNS[2:])
    ignored = b"x," * (ignored_count - 1) + b'"y",'
    record = b"1,12345678," + ignored + b"14e56786,5000,DEPOSIT\n"

    checked = check(record * 2 + b"1,12345678,14e56786,5000,DEPOSIT\n" + record, columns=columns)

    assert checked.copy_text == GOOD + b"\n" + GOOD + b"\n" + GOOD + b"\n"
    assert [one.rule for one in checked.quarantined] == ["too_few_fields"]
    # Before equal columns were said once, the patterns of the widest took half a minute to compile.
    assert time.monotonic() - started < 3


def records(count: int) -> bytes:
    return b"".join(b"%d,1234567,reference%d,-12.50,FEE\n" % (number, number) for number in range(count))


def test_a_long_chunk_is_gone_through_in_steps_and_none_of_its_records_is_missed_where_they_meet() -> None:
    data = records(40_000)
    steps = check_in_steps(data, entity=TRANSACTIONS, columns=COLUMNS, first_line=2, byte_offset=62, header_raw=HEADER)
    assert sum(1 for _ in steps) > 4
    slower = check_in_steps(
        data + b'"1",2,3,4,FEE\n', entity=TRANSACTIONS, columns=COLUMNS, first_line=2, byte_offset=62, header_raw=HEADER
    )
    assert sum(1 for _ in slower) > 4
    assert (check(data).copy_text, check(data).persisted_count) == (data, 40_000)


@pytest.mark.parametrize("place", [0, 6_000, 39_999])
def test_a_bad_record_anywhere_in_a_long_chunk_is_found(place: int) -> None:
    lines = records(40_000).splitlines(keepends=True)
    lines[place] = b"x,1,2,3,FEE\n"
    checked = check(b"".join(lines))
    assert (only(checked).line, checked.persisted_count) == (place + 2, 39_999)


def test_a_record_that_is_longer_than_a_step_is_stored() -> None:
    data = records(3) + b"4,1234567,reference,1," + b"F" * 300_000 + b"\n" + records(3)
    checked = check(data)
    assert (checked.copy_text, checked.persisted_count, checked.quarantined) == (data, 7, ())
