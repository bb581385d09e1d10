"""What a sender is told of a sample: every column by itself, and no personal value."""

import gzip
from uuid import UUID

import pytest
import zstandard

from dataharvest.contract_check import ColumnReport, SampleReport, check_sample
from dataharvest.contract_report import text_of
from dataharvest.contract_sample import SAMPLE_BYTES, sample_of
from dataharvest.contracts import DEFAULT, Contract

HEADER = b"record_id,account_number,cash_balance,currency,taxes_paid\n"
GOOD = HEADER + b"1,0012,1500.50,EUR,0\n2,0013,20,EUR,1.25\n"
GERMAN = Contract(
    delimiter=";", decimal_mark=",", encoding="windows-1252", header_aliases={"accounts": {"Kontonummer": "account_number"}}
)


def checked(content: bytes, *, entity: str = "accounts", contract: Contract = DEFAULT, name: str = "any.csv") -> SampleReport:
    pieces = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    return check_sample(sample_of(pieces, name=name, contract=contract), entity=entity, contract=contract)


def column(report: SampleReport, header_name: str) -> ColumnReport:
    return next(one for one in report.columns if one.header_name == header_name)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_good_file_fits(end: str) -> None:
    report = checked(GOOD.replace(b"\n", end.encode()))

    assert (report.fits, report.record_count, report.is_whole) == (True, 2, True)
    assert text_of(report, name="a.csv").endswith("\nThe file fits.")


def test_a_file_without_a_last_line_end_or_without_records_fits() -> None:
    assert checked(GOOD.removesuffix(b"\n")).record_count == 2
    assert checked(HEADER).fits


@pytest.mark.parametrize(("ending", "packed"), [(".csv.gz", gzip.compress(GOOD)), (".CSV.ZST", zstandard.compress(GOOD))])
def test_compressed_files_are_read_too(ending: str, packed: bytes) -> None:
    assert checked(packed, name=f"accounts{ending}").fits


def test_a_contract_decides_how_a_file_is_read() -> None:
    content = "record_id;KONTONUMMER;cash_balance;currency;taxes_paid;größe\n1;0012;1500,5;EUR;0;ü\n".encode("windows-1252")

    report = checked(content, contract=GERMAN)

    assert report.fits
    assert "new: not loaded" in text_of(report, name="a.csv")
    assert not checked(content).fits


def test_every_mistake_of_a_record_is_counted_in_its_own_column() -> None:
    report = checked(HEADER + b"x,,1.500,eur,0\n" + b"2,0013,20,EUR,1.25\n" + b"y,0014,1,Eur,1,5\n" + b"z,0015,7,EUR,0\n")

    found = {one.header_name: {rule: item.count for rule, item in one.findings.items()} for one in report.columns}

    assert found == {
        "record_id": {"digits": 2},
        "account_number": {"missing_value": 1},
        "cash_balance": {},
        "currency": {"currency": 1},
        "taxes_paid": {},
    }
    assert {rule: item.count for rule, item in report.records.items()} == {"too_many_fields": 1}
    assert column(report, "record_id").findings["digits"].examples == [(2, "'x'"), (5, "'z'")]


def test_a_missing_column_does_not_hide_what_is_wrong_with_the_others() -> None:
    report = checked(b"record_id,account_number,cash_balance,Currency,extra\n1,0012,1,eur,x\n")

    text = text_of(report, name="accounts_20261123.csv")

    assert not report.fits
    assert "taxes_paid      –               missing, must be an amount" in text
    assert "currency        Currency        1 not three capital letters such as EUR: line 2 'eur'" in text
    assert "–               extra           new: not loaded" in text


def test_at_most_three_lines_are_named() -> None:
    report = checked(HEADER + b"1,0012,1,eur,0\n" * 5)

    assert "5 not three capital letters such as EUR: line 2 'eur', line 3 'eur', line 4 'eur', …" in text_of(report, name="a")


def test_personal_values_are_never_shown() -> None:
    header = b"record_id,first_name,last_name,client_reference,tax_free_allowance\n"
    report = checked(header + b"1,Frida,M\xfcller,9e,801\n", entity="clients")

    text = text_of(report, name="clients_20261123.csv")

    assert "1 not in the encoding utf-8: line 2" in text
    assert "Frida" not in text
    assert "ller" not in text


def test_the_first_record_of_a_file_without_header_is_not_shown() -> None:
    report = checked(f"1,Frida,Miller,{UUID(int=7)},801\n".encode(), entity="clients")

    text = text_of(report, name="clients_20261123.csv")

    assert "The header of" not in text
    assert "the header is missing, or its delimiter is another" in text
    assert "Frida" not in text


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_another_delimiter_is_named(delimiter: str) -> None:
    text = text_of(checked(GOOD.replace(b",", delimiter.encode())), name="accounts_20261123.csv")

    assert f"names no column of accounts: fields are parted by {delimiter!r} instead." in text


@pytest.mark.parametrize(("mark", "good", "bad"), [(".", "1.5", "1,5"), (",", "1,5", "1.5"), (",", "-7", "1.000,50")])
def test_amounts_have_the_contracts_decimal_mark(mark: str, good: str, bad: str) -> None:
    contract = Contract.model_validate({"decimal_mark": mark, "delimiter": ";"})
    lines = f"1;1;{good};EUR;0\n2;2;{bad};EUR;0\n".encode()

    report = checked(HEADER.replace(b",", b";") + lines, contract=contract)

    assert column(report, "cash_balance").findings["money"].examples == [(3, repr(bad))]


def test_a_decimal_comma_between_commas_needs_quotes() -> None:
    report = checked(HEADER + b'1,1,"1,5",EUR,0\n2,2,1,5,EUR,0\n', contract=Contract(decimal_mark=","))

    assert {rule: item.examples for rule, item in report.records.items()} == {"too_many_fields": [(3, None)]}
    assert all(one.fits for one in report.columns)


def test_lines_are_physical_lines() -> None:
    report = checked(b"\n" + HEADER + b'\n1,"a\nb",1,EUR,0\n2,2,x,EUR,0\n')

    assert column(report, "cash_balance").findings["money"].examples == [(6, "'x'")]


def test_broken_quotes_cost_their_record_or_the_rest() -> None:
    report = checked(HEADER + b'1,a"b,1,EUR,0\n2,2,1,EUR,0\n3,"4,1,EUR,0\n5,5,1,EUR,0\n')

    assert {rule: item.examples for rule, item in report.records.items()} == {
        "stray_quote": [(2, None)],
        "misaligned_tail": [(4, None)],
    }


def test_only_the_first_megabyte_is_looked_at_and_its_cut_record_is_left_out() -> None:
    line = b"1,0012,1500.50,EUR,0.00\n"
    report = checked(HEADER + line * 100_000)

    assert report.fits
    assert (report.is_whole, report.content_bytes) == (False, SAMPLE_BYTES)
    assert report.record_count == (SAMPLE_BYTES - len(HEADER)) // len(line)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04\x00", b"\xff\xfer\x00", b'"record_id'])
def test_what_is_no_csv_can_not_be_read(content: bytes) -> None:
    report = checked(content)

    assert not report.fits
    assert "The file can't be read. line 1: " in text_of(report, name="a.csv")
