"""What a manifest may say, and that every mistake in one is named with its place."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.rules.json_lines import json_pointer, members_of
from dataharvest.rules.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest

HASH = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(Rejected) as refused:
        read_manifest(text if isinstance(text, bytes) else text.encode())
    assert refused.value.rule == "invalid_manifest"
    found = refused.value.details["problems"]
    assert isinstance(found, tuple)
    for problem in found[:10]:
        assert problem in refused.value.message
    return list(found)


def entity(totals: str, name: str = "accounts") -> str:
    return f'{{"entities": {{"{name}": {totals}}}}}'


def test_every_total_is_read_exactly() -> None:
    manifest = read_manifest(
        b'\xef\xbb\xbf{"entities": {"accounts": {"records": 3, "sha256": "' + HASH.encode() + b'", "sums": '
        b'{"cash_balance": 12345678901234567890.1234, "taxes_paid": "-0.10"}}, "clients": {"records": 0}}}'
    )
    accounts = manifest.entities["accounts"]
    assert (accounts.records, accounts.sha256) == (3, HASH.lower())
    assert accounts.sums == {"cash_balance": Decimal("12345678901234567890.1234"), "taxes_paid": Decimal("-0.10")}
    assert manifest.entities["clients"].records == 0


amounts = st.decimals(-(10**24), 10**24, places=4, allow_nan=False, allow_infinity=False).map(lambda one: f"{one:f}")


@given(records=st.integers(0, 10**17), amount=amounts, as_number=st.booleans())
def test_no_digit_of_a_total_is_lost_when_it_is_read_and_stored(records: int, amount: str, as_number: bool) -> None:
    written = amount if as_number else json.dumps(amount)
    manifest = read_manifest(entity(f'{{"records": {records}, "sums": {{"taxes_paid": {written}}}}}').encode())
    assert manifest.entities["accounts"].records == records
    assert manifest.entities["accounts"].sums["taxes_paid"] == Decimal(amount)
    assert Manifest.model_validate(json.loads(json.dumps(manifest.as_json()))) == manifest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column 1: not JSON: Expecting value"),
        ("{\n \"entities\": {,}}", "line 2, column 15: not JSON: Expecting property name enclosed in double quotes"),
        (b"\xff{}", "byte 0 is not UTF-8"),
        ("[]", "the manifest is not an object"),
        ("{}", "/entities is missing"),
        ('{"entities": []}', "line 1: /entities is not an object"),
        ('{"entities": {}}', "line 1: /entities names no entity"),
        ('{"entities": {"accounts": {"records": 1}},\n"day": 1}', "line 2: /day is an unknown field"),
        (entity('{"record": 1, "records": 2}'), "line 1: /entities/accounts/record is an unknown field"),
        (entity("{}"), "line 1: /entities/accounts has none of records, sha256 and sums"),
        (entity('{"sums": {}}'), "line 1: /entities/accounts has none of records, sha256 and sums"),
        (entity("null"), "line 1: /entities/accounts is not an object"),
        (entity('{"records": null}'), "line 1: /entities/accounts has a total that is null; leave it out instead"),
        (entity('{"records": "7"}'), "line 1: /entities/accounts/records is not a whole number of records: '7'"),
        (entity('{"records": -1}'), "line 1: /entities/accounts/records is not a whole number of records: '-1'"),
        (entity('{"records": 1.5}'), "line 1: /entities/accounts/records is not a whole number of records: '1.5'"),
        (entity('{"records": true}'), "line 1: /entities/accounts/records is not a whole number of records"),
        (entity('{"sha256": "abc"}'), "line 1: /entities/accounts/sha256 is not a SHA-256 of 64 hexadecimal digits: 'abc'"),
        (
            entity('{"sums": {"taxes_paid": 1e2}}'),
            "line 1: /entities/accounts/sums/taxes_paid is not an amount of at most 28 digits and 4 decimals: '1e2'",
        ),
        (
            entity('{"sums": {"taxes_paid": "1,5"}}'),
            "line 1: /entities/accounts/sums/taxes_paid is not an amount of at most 28 digits and 4 decimals: '1,5'",
        ),
        (entity('{"sums": {"taxes_paid": NaN}}'), "not JSON: NaN is no number"),
        (
            entity('{"sums": {"currency": 1}}'),
            "line 1: /entities/accounts/sums/currency is no money column of accounts, expected one of cash_balance, taxes_paid",
        ),
        (
            entity('{"sums": {"x": 1}}', "portfolios"),
            "line 1: /entities/portfolios/sums/x is no money column of portfolios, it has none",
        ),
        (
            entity('{"records": 1}', "account"),
            "line 1: /entities/account is no entity, expected one of accounts, clients, portfolios, transactions",
        ),
        (entity('{"records": 1,\n "records": 1}'), "line 2: /entities/accounts/records is there twice"),
        ("[" * 100_000, "not JSON that a manifest needs: too deep"),
        (" " * (MAX_MANIFEST_BYTES + 1), "the manifest is longer than 1,048,576 bytes"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text: str | bytes, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_every_mistake_is_named_at_once() -> None:
    text = (
        '{"entities": {\n"accounts": {"records": -1, "sums": {"x": "y"}},\n"acc": {"records": 1}, "clients": {"z": 1}},\n"a": 1}'
    )
    assert {problem.partition(" is ")[0] for problem in problems_of(text)} == {
        "line 2: /entities/accounts/records",
        "line 2: /entities/accounts/sums/x",
        "line 3: /entities/acc",
        "line 3: /entities/clients/z",
        "line 4: /a",
    }


def test_what_no_database_could_store_is_escaped() -> None:
    [problem] = problems_of(entity('{"records": 1}', r"\ud800\u0000"))
    assert problem.startswith(r"line 1: /entities/\ud800\x00 is no entity")
    problem.encode()


def test_a_flood_of_mistakes_is_cut() -> None:
    fields = ", ".join(f'"x{number}": 1' for number in range(5000))
    assert len(problems_of(f'{{"entities": {{}}, {fields}}}')) == 100


@pytest.mark.parametrize("depth", [*range(900, 1010, 2), 3000])
def test_nesting_is_refused_at_every_depth(depth: int) -> None:
    assert problems_of(entity("[" * depth + "]" * depth))


names = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 1]))
def test_members_are_found_where_they_stand(content: object, indent: int | None) -> None:
    text = json.dumps(content, indent=indent)
    found = members_of(text, depth=9)
    assert found.repeated == ()
    expected = set(_pointers(content, ()))
    assert set(found.lines) == expected
    for pointer, line in found.lines.items():
        assert json.dumps(pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~"))[1:-1] in text.split("\n")[
            line - 1
        ] or ("\\" in pointer)


def _pointers(content: object, path: tuple[str, ...]) -> list[str]:
    if not isinstance(content, dict):
        return []
    return [one for name, value in content.items() for one in (json_pointer((*path, name)), *_pointers(value, (*path, name)))]


@given(st.binary(max_size=200) | values.map(lambda one: json.dumps({"entities": one}).encode()))
def test_anything_else_is_rejected_and_nothing_worse_happens(data: bytes) -> None:
    try:
        read_manifest(data)
    except Rejected as refused:
        assert refused.rule == "invalid_manifest"
        refused.message.encode()


def test_the_documented_manifest_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "control-totals.md").read_text("utf-8")
    manifest = read_manifest(page.partition("```json\n")[2].partition("```")[0].encode())
    assert manifest.entities["accounts"].records == 1200
    assert manifest.entities["transactions"].sums == {"amount": Decimal("-12.5")}
