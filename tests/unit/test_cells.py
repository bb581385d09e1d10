"""Cells: what each kind accepts, and how COPY wants it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import Column, Kind
from dataharvest.rules.cells import copy_cell, plain_pattern, problem_of, swift_pattern

COLUMNS = [
    Column(name=f"{kind.name}_{mandatory}", kind=kind, mandatory=mandatory) for kind in Kind for mandatory in (True, False)
]
SPECIAL = rb'",\\\r\n'
near_cells = st.one_of(
    st.binary(max_size=6),
    st.text(max_size=70).map(str.encode),
    st.from_regex(rb"-?[0-9]{0,17}(\.[0-9]{0,5})?", fullmatch=True),
    st.from_regex(rb"[A-Z]{2,4}", fullmatch=True),
    st.uuids().map(lambda uuid: str(uuid).encode()),
)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (Kind.MONEY, b"0"),
        (Kind.MONEY, b"-0"),
        (Kind.MONEY, b"-999999999999999.9999"),
        (Kind.MONEY, b"007.50"),
        (Kind.DIGITS, b"0"),
        (Kind.DIGITS, b"9" * 18),
        (Kind.CURRENCY, b"EUR"),
        (Kind.KEY, b"0001"),
        (Kind.KEY, "ü".encode() * 64),
        (Kind.UUID, b"9E40659b-6d5a-4f3c-8a6d-0123456789AB"),
        (Kind.TEXT, b"=cmd|' /C calc'!A0"),
        (Kind.TEXT, b" " * 1000),
    ],
)
def test_good_cells_have_no_problem(kind: Kind, cell: bytes) -> None:
    assert problem_of([cell], [Column(name="c", kind=kind)]) is None


@pytest.mark.parametrize(
    "cell", [b"1\n", "１".encode(), b"1.", b"1,5", b"1e5", b"9" * 16, b"1.12345", b"NaN", b"inf", b"1_0", b" 1"]
)
def test_money_is_ascii_digits_within_limits(cell: bytes) -> None:
    problem = problem_of([cell], [Column(name="amount", kind=Kind.MONEY)])

    assert problem
    assert (problem.rule, problem.column) == ("money", "amount")


def test_text_that_is_no_text_comes_before_other_rules() -> None:
    columns = [Column(name="amount", kind=Kind.MONEY), Column(name="note", kind=Kind.TEXT)]

    problem = problem_of([b"x", b"\xff"], columns)

    assert problem
    assert (problem.rule, problem.column) == ("encoding", "note")


@given(cell=near_cells, column=st.sampled_from(COLUMNS))
def test_a_pattern_takes_only_good_cells_that_copy_keeps(cell: bytes, column: Column) -> None:
    if re.fullmatch(plain_pattern(column, special=SPECIAL), cell):
        assert problem_of([cell], [column]) is None
        assert copy_cell(cell).replace(b"\\\t", b"\t").replace(b"\\t", b"\t") == cell


@given(cell=near_cells, column=st.sampled_from(COLUMNS), end=st.sampled_from([b",", b"\n"]))
def test_the_swift_pattern_takes_what_is_good(cell: bytes, column: Column, end: bytes) -> None:
    is_taken = re.fullmatch(swift_pattern(column, end=end), cell + end) is not None

    is_good = problem_of([cell], [column]) is None
    if cell.isascii() and not re.search(rb'[",\\\r\n\x00]', cell):
        assert is_taken == is_good


@given(cell=st.text().map(str.encode))
def test_an_escaped_cell_reads_back_as_it_was(cell: bytes) -> None:
    escaped = copy_cell(cell)

    letters = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
    assert re.sub(rb"\\(.)", lambda found: letters.get(found[1], found[1]), escaped) == cell
    assert not re.search(rb"(?<!\\)(\\\\)*[\n\r\t,]", escaped)
