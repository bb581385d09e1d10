"""Amounts with a decimal comma: stored with a point, by the quick way and the slow one alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import all_entities
from dataharvest.rules.records import CheckedChunk, check_chunk

ACCOUNTS = all_entities()["accounts"]
COLUMNS = ("record_id", "account_number", "cash_balance", "currency", None, "taxes_paid")
HEADER = "record_id{0}account_number{0}cash_balance{0}currency{0}note{0}taxes_paid"


def check(text: str, *, delimiter: str, decimal_mark: str = ",") -> CheckedChunk:
    return check_chunk(
        text.encode(),
        entity=ACCOUNTS,
        columns=COLUMNS,
        first_line=2,
        byte_offset=0,
        header_raw=HEADER.format(delimiter).encode(),
        delimiter=delimiter,
        decimal_mark=decimal_mark,
    )


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":"])
def test_rows_have_a_point_and_other_commas_stay(delimiter: str) -> None:
    lines = ["1;0012;1500,5;EUR;;0", '2;0013;-7;EUR;"a, b";1,25', '3;"00,14";"1,5";EUR;;0,0001']

    checked = check("".join(f"{line.replace(';', delimiter)}\n" for line in lines), delimiter=delimiter)

    assert checked.copy_text == b"1,0012,1500.5,EUR,0\n2,0013,-7,EUR,1.25\n3,00\\,14,1.5,EUR,0.0001\n"
    assert checked.quarantined == ()


def test_between_commas_an_amount_with_decimals_is_in_quotes() -> None:
    checked = check('1,0012,"1500,5",EUR,,0\n2,0013,20,EUR,x,"1,25"\n3,0014,1,5,EUR,,0\n', delimiter=",")

    assert checked.copy_text == b"1,0012,1500.5,EUR,0\n2,0013,20,EUR,1.25\n"
    assert [one.rule for one in checked.quarantined] == ["too_many_fields"]


@pytest.mark.parametrize("amount", ["1.5", "1.500,50", "1,", ",5", "1,12345", "1,2,3", "1500.50"])
def test_an_amount_in_another_form_is_quarantined_as_it_is_written(amount: str) -> None:
    (record,) = check(f"1;0012;{amount};EUR;;0\n", delimiter=";").quarantined

    assert (record.rule, record.column) == ("money", "cash_balance")
    assert record.message.endswith(f"with a decimal comma: '{amount}'.")


def test_a_decimal_comma_is_not_understood_where_the_contract_does_not_say_so() -> None:
    (record,) = check("1;0012;1,5;EUR;;0\n", delimiter=";", decimal_mark=".").quarantined

    assert record.rule == "money"


amounts = st.from_regex(r"-?[0-9]{1,16}(\.[0-9]{1,5})?", fullmatch=True, alphabet=st.characters(codec="ascii"))
texts = st.text('ab;,."ü', max_size=5)
records = st.lists(st.tuples(texts, amounts, texts, amounts), max_size=6)


@given(records=records, delimiter=st.sampled_from(",;\t"), quote_all=st.booleans())
def test_a_comma_changes_nothing_in_what_is_stored(records: list[tuple[str, ...]], delimiter: str, quote_all: bool) -> None:
    def line(number: int, record: tuple[str, ...], mark: str) -> str:
        key, balance, note, taxes = record
        cells = [str(number), key, balance.replace(".", mark), "EUR", note, taxes.replace(".", mark)]
        special = set(f'{delimiter}"')
        quoted = (f'"{cell.replace(chr(34), chr(34) * 2)}"' if quote_all or special & set(cell) else cell for cell in cells)
        return delimiter.join(quoted) + "\n"

    with_comma, with_point = (
        check("".join(line(*one, mark) for one in enumerate(records)), delimiter=delimiter, decimal_mark=mark) for mark in ",."
    )

    assert with_comma.copy_text == with_point.copy_text
    assert [(one.position, one.rule) for one in with_comma.quarantined] == [
        (one.position, one.rule) for one in with_point.quarantined
    ]
