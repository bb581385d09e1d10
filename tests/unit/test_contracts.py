"""Contracts: what their YAML may say, that every mistake is named with its place, and what a change is called."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataharvest.contracts import DEFAULT, Calendar, Contract, Cutoff, InvalidContract, Mistake, difference, read_contract
from dataharvest.entities import all_entities

FRIDAY, SATURDAY = date(2026, 11, 27), date(2026, 11, 28)

EVERYTHING = """\
required: [transactions, accounts, accounts]
header_aliases:
  accounts: {Kontonummer: account_number, No: record_id}
delimiter: ;
encoding: Latin-1
decimal_mark: ","
date_in_key: DD.MM.YYYY
quarantine_threshold: 3
duplicates: first_wins
duplicates_by_entity: {clients: last_wins}
orphans_block: [accounts without a portfolio]
mixed_currency: block
manifest: required
cutoff: {time: 18:30, zone: Europe/Berlin, days_after: 1}
calendar: {weekdays: [fri, mon], holidays: [2026-12-25]}
"""


def mistakes_in(text: str | bytes) -> tuple[Mistake, ...]:
    with pytest.raises(InvalidContract) as caught:
        read_contract(text, source="north.yaml")
    return caught.value.mistakes


def test_every_field_is_read_as_it_is_written() -> None:
    assert read_contract(EVERYTHING, source="north.yaml") == Contract(
        required=("accounts", "transactions"),
        header_aliases={"accounts": {"Kontonummer": "account_number", "No": "record_id"}},
        delimiter=";",
        encoding="iso-8859-1",
        decimal_mark=",",
        date_in_key="DD.MM.YYYY",
        quarantine_threshold=3,
        duplicates="first_wins",
        duplicates_by_entity={"clients": "last_wins"},
        orphans_block=("accounts without a portfolio",),
        mixed_currency="block",
        manifest="required",
        cutoff=Cutoff(time="18:30", zone="Europe/Berlin", days_after=1),
        calendar=Calendar(weekdays=("mon", "fri"), holidays=(date(2026, 12, 25),)),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", b"\xef\xbb\xbf", "cutoff:\n"])
def test_what_is_not_said_is_as_in_the_defaults(text: str | bytes) -> None:
    assert read_contract(text, source="empty.yaml") == DEFAULT


def test_the_defaults_require_every_entity_that_asks_for_it() -> None:
    assert DEFAULT.required == tuple(name for name, entity in all_entities().items() if entity.required)


def test_a_contract_survives_its_way_to_json_and_back() -> None:
    contract = read_contract(EVERYTHING, source="north.yaml")

    assert Contract.model_validate_json(contract.model_dump_json()) == contract


def test_every_field_is_documented() -> None:
    assert [name for name, one in Contract.model_fields.items() if not one.description] == []


def test_a_contract_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        DEFAULT.delimiter = ";"  # type: ignore[misc]


def test_every_mistake_is_named_at_once_with_line_and_column() -> None:
    text = """\
delimeter: ;
delimiter: ab
required: [acounts]
header_aliases:
  accounts:
    Konto: acount_number
    CURRENCY: taxes_paid
    konto : record_id
    Konto: account_number
  foo: {a: b}
encoding: ebcdic
quarantine_threshold: -1
duplicates_by_entity: {clients: last}
cutoff: {time: 18:70, zone: Europe/Berln, hour: 3}
calendar: {holidays: [20261225]}
delimiter: ;
"""

    found = [(one.line, one.column, one.message) for one in mistakes_in(text)]

    assert [place[:2] for place in found] == [
        (1, 1),
        (2, 12),
        (3, 12),
        (6, 12),
        (7, 15),
        (9, 5),
        (10, 3),
        (11, 11),
        (12, 23),
        (13, 33),
        (14, 16),
        (14, 29),
        (14, 43),
        (15, 23),
        (16, 1),
    ]
    assert found[0][2] == "unknown field 'delimeter'; did you mean 'delimiter'?"
    assert found[3][2] == "accounts has no column 'acount_number'; did you mean 'account_number'?"
    assert found[4][2] == "'CURRENCY' already means the column currency"
    assert found[5][2] == "'Konto' is said twice, first in line 6"
    assert found[12][2] == "unknown field 'hour'"


def test_a_mistake_says_file_line_and_column() -> None:
    with pytest.raises(InvalidContract, match=r"^north\.yaml:2:11: manifest: should be 'none', 'optional' or 'required'$"):
        read_contract("delimiter: ;\nmanifest: maybe\n", source="north.yaml")


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: [", 1, 5, "not YAML"),
        ("delimiter: ;\na: b: c", 2, 5, "not YAML"),
        ("decimal_mark: ,", 1, 15, "has to be in quotes"),
        ("a: 1\nb: \x00", 2, 4, "a character that no text holds"),
        ("---\na: 1\n---\nb: 2\n", 3, 1, "another document"),
        ("- a\n", 1, 1, "a contract is a map"),
        ("? [a]\n: b\n", 1, 3, "must be a word"),
        ("a: &x [1]\nb: *x\n", 2, 4, "an alias"),
        ("[" * 100_000, 1, 21, "nested too deeply"),
        (b"a: 1\nb: \xff", 2, 1, "not UTF-8"),
        ("#" * 1_100_000, 1, 1, "longer than"),
        ("cutoff: {time: 18:30}", 1, 1, "cutoff.zone: is missing"),
        ("cutoff: 18:30", 1, 9, "cutoff: should be a map"),
        ("header_aliases: [a]", 1, 17, "header_aliases: should be a map"),
        ("required: []", 1, 11, "required: should not be empty"),
        ("quarantine_threshold: 1.5", 1, 23, "should be a whole number"),
    ],
)
def test_what_is_no_contract_is_refused_at_its_place(text: str | bytes, line: int, column: int, message: str) -> None:
    (mistake,) = mistakes_in(text)

    assert (mistake.line, mistake.column) == (line, column)
    assert message in mistake.message


@pytest.mark.parametrize("delimiter", ['"', "'", "\n", "\r", "\0", "\\", "a", "0", ".", "-", "_", " ", "", ";;", "§"])
def test_what_stands_in_values_and_names_can_not_part_fields(delimiter: str) -> None:
    with pytest.raises(ValidationError):
        Contract(delimiter=delimiter)


@pytest.mark.parametrize("form", ["YYYYMMDD", "YYYY-MM-DD", "DDMMYYYY", "MM_DD_YYYY", "DD.MM.YYYY"])
def test_a_date_may_be_written_in_any_order(form: str) -> None:
    assert Contract(date_in_key=form).date_in_key == form


@pytest.mark.parametrize("form", ["", "YYMMDD", "YYYY-MMDD", "YYYY/MM/DD", "YYYYMM", "YYYYMMDDDD", "YYYY-MM_DD"])
def test_what_is_no_date_is_refused(form: str) -> None:
    with pytest.raises(ValidationError):
        Contract(date_in_key=form)


@given(st.text(max_size=200))
def test_any_text_is_a_contract_or_its_mistakes_have_places(text: str) -> None:
    try:
        read_contract(text, source="any")
    except InvalidContract as invalid:
        assert all(one.line >= 1 and one.column >= 1 and one.message for one in invalid.mistakes)


def test_a_header_alias_names_a_column_beside_its_own_name() -> None:
    contract = Contract(header_aliases={"accounts": {" Konto ": "account_number"}})

    columns = {column.name: column.aliases for column in contract.entity("accounts").columns}

    assert columns["account_number"] == ("accout_number", "Konto")
    assert columns["currency"] == ()


def test_an_entity_has_its_own_rule_for_duplicates_or_that_of_all() -> None:
    contract = Contract(duplicates="first_wins", duplicates_by_entity={"clients": "reject"})

    assert (contract.duplicate_rule("clients"), contract.duplicate_rule("accounts")) == ("reject", "first_wins")


def test_a_set_is_due_at_the_cut_off_of_its_zone_on_business_dates_only() -> None:
    contract = Contract(cutoff=Cutoff(time="18:30", zone="Europe/Berlin"), calendar=Calendar(holidays=(date(2026, 12, 25),)))

    assert contract.due_at(FRIDAY) == datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    assert contract.due_at(SATURDAY) is None
    assert contract.due_at(date(2026, 12, 25)) is None
    assert DEFAULT.due_at(FRIDAY) is None


def test_a_cut_off_may_be_on_a_later_day() -> None:
    contract = Contract(cutoff=Cutoff(time="06:00", zone="UTC", days_after=1))

    assert contract.due_at(FRIDAY) == datetime(2026, 11, 28, 6, tzinfo=UTC)


def test_equal_contracts_differ_in_nothing() -> None:
    assert difference(None, DEFAULT) == []
    assert difference(read_contract(EVERYTHING, source="a"), read_contract(EVERYTHING, source="b")) == []


def test_a_difference_is_a_sentence_per_field() -> None:
    old = Contract(delimiter=",", cutoff=Cutoff(time="18:30", zone="UTC"), required=("accounts", "clients"))
    new = Contract(
        delimiter=";",
        cutoff=Cutoff(time="19:00", zone="UTC"),
        required=("accounts", "portfolios"),
        header_aliases={"clients": {"Vorname": "first_name"}},
    )

    assert difference(old, new) == [
        "required: without 'clients'",
        "required: with 'portfolios'",
        "header_aliases.clients: nothing → Vorname 'first_name'",
        "delimiter: ',' → ';'",
        "cutoff.time: '18:30' → '19:00'",
    ]


def test_a_first_contract_is_compared_with_the_defaults() -> None:
    assert difference(None, Contract(quarantine_threshold=5)) == ["quarantine_threshold: 0 → 5"]
