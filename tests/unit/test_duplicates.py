"""The records with a repeated natural key are found where they stand, whatever stands around them."""

from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import Kind
from dataharvest.rules.duplicates import Copy, copies_in, further_copies, quarantined_copy, records_in
from dataharvest.rules.records import MAX_RAW_BYTES
from dataharvest.rules.scanning import scanner_for

SCANNER = scanner_for(",")


def found(data: bytes, *keys: str, left_out: tuple[int, ...] = (), kind: Kind = Kind.KEY) -> list[Copy]:
    records = records_in(data, scanner=SCANNER, first_line=10, byte_offset=100)
    return list(copies_in(records, scanner=SCANNER, key_index=1, key_kind=kind, keys=set(keys), left_out=left_out))


def test_lines_offsets_and_positions_count_what_stands_before() -> None:
    data = b'1,a\n\n2,b\r\n3,"x\ny"\n4,"a"\n5,a'
    assert found(data, "a") == [
        Copy("a", 0, 10, 100, b"1,a", 3),
        Copy("a", 3, 15, 118, b'4,"a"', 5),
        Copy("a", 4, 16, 124, b"5,a", 3),
    ]
    assert [one.line for one in found(data, "x\ny")] == [13]


def test_a_record_that_is_no_row_is_no_copy() -> None:
    assert [one.position for one in found(b"1,a\n2,a\n3,a\n", "a", left_out=(1,))] == [0, 2]


def test_a_reference_in_capitals_is_the_same_reference() -> None:
    assert [one.natural_key for one in found(b"1,AB-1\n2,ab-1\n", "ab-1", kind=Kind.UUID)] == ["ab-1", "ab-1"]


def test_a_number_in_capitals_is_another_number() -> None:
    assert [one.position for one in found(b"1,ABC\n2,abc\n3,abc\n", "abc")] == [1, 2]


def test_the_end_of_what_has_no_end_is_left_alone() -> None:
    assert [one.position for one in found(b'1,a\n2,"a\n3,a\n', "a")] == [0]


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_every_copy_is_found_once_and_lies_where_it_says(keys: list[str], end: str) -> None:
    data = "".join(f"{number},{key}{end}" for number, key in enumerate(keys)).encode()
    copies = found(data, "a", "b")
    assert [one.position for one in copies] == [number for number, key in enumerate(keys) if key != "c"]
    assert all(data[one.byte_offset - 100 :].startswith(one.raw) for one in copies)


def test_a_quarantined_copy_names_the_lines_of_the_others() -> None:
    copy = Copy("a", 4, 16, 125, b"5,a", 3)
    entry = quarantined_copy(copy, column="account_number", record_count=3, lines=[10, 15, 16])
    assert (entry.rule, entry.line, entry.column, entry.raw, entry.record_count) == ("duplicate", 16, "account_number", b"5,a", 1)
    assert entry.message == "3 records of this file have the same account_number; the others are in line 10, 15."
    entry = quarantined_copy(copy, column="account_number", record_count=30, lines=[10, 16])
    assert entry.message.endswith("in line 10 and further lines.")


def test_one_entry_stands_for_all_further_copies_of_a_chunk() -> None:
    entry = further_copies(7, column="account_number", first_line=10, byte_offset=100, byte_length=50)
    assert (entry.record_count, entry.raw, entry.byte_offset, entry.byte_length) == (7, b"", 100, 50)


def test_of_a_long_record_only_what_the_quarantine_keeps_is_remembered() -> None:
    raw = b"x" * (MAX_RAW_BYTES + 1)
    kept = quarantined_copy(Copy("a", 4, 16, 125, raw, len(raw)).remembered(), column="key", record_count=2, lines=[16])
    assert (kept.raw, kept.byte_length) == (raw[:MAX_RAW_BYTES], len(raw))
