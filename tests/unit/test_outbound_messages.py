"""What goes out per key: what is new, changed or withdrawn, exactly as the contract says."""

import json
from datetime import date
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.outbound_messages import NAMESPACE, Envelope, LastMessage, OutboundRow, changed_messages, message_id

A, B = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
FIRST = Envelope("acme", date(2026, 11, 23), 1, "clients", "client_reference")
SECOND = FIRST._replace(version=2)
THIRD = FIRST._replace(version=3)

contents = st.dictionaries(st.sampled_from([A, B]), st.fixed_dictionaries({"taxes_paid": st.sampled_from(["0.00", "1.25"])}))


def changed(given_contents: dict[str, dict[str, str]], envelope: Envelope, last: dict[str, LastMessage]) -> list[OutboundRow]:
    rows = [{"reference": reference, **fields} for reference, fields in given_contents.items()]
    return list(changed_messages(rows, last=last, envelope=envelope))


def last_of(rows: list[OutboundRow], before: dict[str, LastMessage] | None = None) -> dict[str, LastMessage]:
    newest = {str(row.reference): LastMessage(row.message_id, row.content_sha256, row.withdrawn) for row in rows}
    return {**(before or {}), **newest}


def test_a_new_key_is_one_message_with_the_fields_in_the_contract_s_order() -> None:
    [row] = changed({A: {"tax_free_allowance": "801.00", "taxes_paid": "0.00"}}, FIRST, {})
    assert list(json.loads(row.payload)) == [
        "message_id", "tenant", "business_date", "version", "supersedes", "client_reference", "tax_free_allowance", "taxes_paid",
    ]  # fmt: skip
    assert json.loads(row.payload) == {
        "message_id": str(row.message_id),
        "tenant": "acme",
        "business_date": "2026-11-23",
        "version": 1,
        "supersedes": None,
        "client_reference": A,
        "tax_free_allowance": "801.00",
        "taxes_paid": "0.00",
    }
    assert (row.reference, row.supersedes, row.withdrawn) == (A, None, False)


def test_unchanged_content_is_no_message() -> None:
    first = changed({A: {"taxes_paid": "0.00"}}, FIRST, {})
    assert changed({A: {"taxes_paid": "0.00"}}, SECOND, last_of(first)) == []


def test_the_order_of_fields_is_no_change() -> None:
    first = changed({A: {"x": "1", "y": "2"}}, FIRST, {})
    assert changed({A: {"y": "2", "x": "1"}}, SECOND, last_of(first)) == []


def test_changed_content_supersedes_the_last_message_of_its_key() -> None:
    [first] = changed({A: {"taxes_paid": "0.00"}}, FIRST, {})
    [second] = changed({A: {"taxes_paid": "1.25"}}, SECOND, last_of([first]))
    payload = json.loads(second.payload)
    assert (payload["version"], payload["supersedes"]) == (2, str(first.message_id))
    assert second.supersedes == first.message_id != second.message_id


def test_a_key_that_is_gone_is_withdrawn_once() -> None:
    first = changed({A: {"taxes_paid": "0.00"}, B: {"taxes_paid": "0.00"}}, FIRST, {})
    last = last_of(first)
    [withdrawal] = changed({B: {"taxes_paid": "0.00"}}, SECOND, last)
    payload = json.loads(withdrawal.payload)
    assert payload == {
        "message_id": str(withdrawal.message_id),
        "tenant": "acme",
        "business_date": "2026-11-23",
        "version": 2,
        "supersedes": str(last[A].message_id),
        "client_reference": A,
        "withdrawn": True,
    }
    assert withdrawal.withdrawn
    assert changed({B: {"taxes_paid": "0.00"}}, THIRD, last_of([withdrawal], last)) == []


def test_a_key_that_comes_back_supersedes_its_withdrawal() -> None:
    first = changed({A: {"taxes_paid": "0.00"}}, FIRST, {})
    [withdrawal] = changed({}, SECOND, last_of(first))
    [back] = changed({A: {"taxes_paid": "0.00"}}, THIRD, last_of([withdrawal], last_of(first)))
    assert (back.supersedes, back.withdrawn) == (withdrawal.message_id, False)


@given(contents, contents, contents)
def test_whoever_keeps_the_last_message_of_each_key_has_the_final_values(
    first: dict[str, dict[str, str]], second: dict[str, dict[str, str]], third: dict[str, dict[str, str]]
) -> None:
    last: dict[str, LastMessage] = {}
    held: dict[str, dict[str, str]] = {}
    for given_contents, envelope in ((first, FIRST), (second, SECOND), (third, THIRD)):
        for row in changed(given_contents, envelope, last):
            payload = json.loads(row.payload)
            before = last.get(str(row.reference))
            assert payload["supersedes"] == (str(before.message_id) if before else None)
            last = last_of([row], last)
            held.pop(str(row.reference), None)
            if not payload.get("withdrawn"):
                held[str(row.reference)] = {"taxes_paid": payload["taxes_paid"]}
    assert held == third


@given(contents)
def test_computing_again_gives_the_same_bytes(given_contents: dict[str, dict[str, str]]) -> None:
    assert changed(given_contents, FIRST, {}) == changed(given_contents, FIRST, {})


def test_the_id_of_a_message_never_changes() -> None:
    assert message_id(FIRST, A) == UUID("ebdf66e7-ace4-54c2-bc9e-90c82c117406")


@given(st.uuids(), st.integers(1, 99))
def test_the_id_is_the_uuid5_that_the_contract_says(reference: UUID, version: int) -> None:
    [row] = changed({str(reference): {}}, FIRST._replace(version=version), {})
    name = f"acme|clients|{reference}|2026-11-23|{version}"
    assert row.message_id == str(uuid5(NAMESPACE, name))


@pytest.mark.parametrize(
    "other",
    [
        FIRST._replace(tenant="zen"),
        FIRST._replace(business_date=date(2026, 11, 24)),
        FIRST._replace(version=2),
        FIRST._replace(kind="portfolios"),
    ],
)
def test_another_tenant_date_version_or_kind_has_another_id(other: Envelope) -> None:
    assert message_id(other, A) != message_id(FIRST, A)
    assert message_id(FIRST, B) != message_id(FIRST, A)
