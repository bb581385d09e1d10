"""When the sender's totals and the stored ones agree, and what a difference means for the set."""

import json
from dataclasses import replace
from decimal import Decimal, getcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.control_totals import (
    Agreement,
    DeliveryTotals,
    Difference,
    Verdict,
    agreement,
    differences,
    exact_difference,
    exact_sum,
    problem_of,
    verdict,
)
from dataharvest.rules.manifest import EntityTotals, Manifest, read_manifest

CONTENT, OBJECT, OTHER = "a" * 64, "b" * 64, "c" * 64
STORED = DeliveryTotals(
    delivery_id=7,
    entity="transactions",
    records=3,
    sums={"amount": Decimal("99.5000")},
    object_sha256=OBJECT,
    content_sha256=CONTENT,
)


def manifest_of(records: int | None = None, sha256: str | None = None, **sums: str) -> Manifest:
    said = {"records": records, "sha256": sha256, "sums": sums}
    return Manifest(entities={"transactions": EntityTotals.model_validate({k: v for k, v in said.items() if v})})


def sentences(manifest: Manifest, stored: DeliveryTotals = STORED) -> list[str]:
    return [one.sentence for one in differences(manifest, {"transactions": stored})]


def test_equal_totals_are_no_difference_however_they_are_written() -> None:
    assert sentences(manifest_of(3, CONTENT, amount="99.5")) == []
    assert sentences(manifest_of(3, OBJECT, amount="099.5000")) == []


def test_a_difference_names_entity_expected_found_and_difference() -> None:
    assert sentences(manifest_of(2, amount="100")) == [
        "transactions: records is 2 expected, 3 found, difference 1",
        "transactions: sum of amount is 100.00 expected, 99.50 found, difference -0.50",
    ]


def test_a_sum_says_how_many_records_are_not_in_it() -> None:
    [said] = sentences(manifest_of(3, amount="100"), replace(STORED, left_out=1))
    assert said.endswith("difference -0.50 (1 record of the file is not among the rows)")


def test_totals_with_a_hash_belong_to_that_content_alone() -> None:
    [one] = differences(manifest_of(9, OTHER, amount="1"), {"transactions": STORED})
    assert (one.what, one.expected, one.found, one.difference) == ("sha256", OTHER, CONTENT, None)


def test_a_file_that_is_not_here_is_no_difference() -> None:
    assert differences(manifest_of(9), {}) == []


def test_an_entity_without_a_total_is_not_compared() -> None:
    assert differences(manifest_of(3), {"transactions": STORED, "clients": replace(STORED, entity="clients", records=9)}) == []


money = st.decimals(-(10**15) + 1, 10**15 - 1, places=4, allow_nan=False, allow_infinity=False)


def cents(amount: Decimal) -> int:
    return int(amount.scaleb(4))


@given(st.lists(money, max_size=60), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order_whatever_the_context_rounds_to(amounts: list[Decimal], random: object) -> None:
    shuffled = sorted(amounts, key=lambda _: random.random())  # type: ignore[attr-defined]
    precision = getcontext().prec
    getcontext().prec = 5
    try:
        assert exact_sum(shuffled) == exact_sum(amounts)
        total = exact_sum(amounts)
    finally:
        getcontext().prec = precision
    assert cents(total) == sum(map(cents, amounts))


@given(st.lists(money, min_size=1, max_size=20), money)
def test_a_sum_that_is_off_by_anything_is_a_difference_of_exactly_that(amounts: list[Decimal], off: Decimal) -> None:
    stored = replace(STORED, sums={"amount": exact_sum(amounts)})
    expected = exact_sum([*amounts, -off])
    found = differences(manifest_of(amount=f"{expected:f}"), {"transactions": stored})
    assert [one.difference for one in found] == ([off] if off else [])


def test_subtracting_keeps_every_digit() -> None:
    huge = Decimal("123456789012345678901234567890.1234")
    assert exact_difference(huge, Decimal("0.0001")) == Decimal("123456789012345678901234567890.1233")


CHOSEN = {"clients": 3, "transactions": 7}
ANY = [Difference(entity="clients", what="records", expected=1, found=2)]


@pytest.mark.parametrize(
    ("rule", "manifest", "found", "published", "expected"),
    [
        ("none", None, [], False, "ok"),
        ("none", manifest_of(1), ANY, False, "ok"),
        ("optional", None, [], False, "ok"),
        ("optional", manifest_of(1), [], True, "ok"),
        ("optional", manifest_of(1), ANY, False, "blocked"),
        ("optional", manifest_of(1), ANY, True, "disputed"),
        ("required", None, [], False, "waits"),
        ("required", None, [], True, "waits"),
        ("required", manifest_of(1), [], False, "ok"),
        ("required", manifest_of(1), ANY, False, "blocked"),
        ("required", manifest_of(1), ANY, True, "disputed"),
    ],
)
def test_what_the_totals_mean_for_the_set(
    rule: str, manifest: Manifest | None, found: list[Difference], published: bool, expected: Verdict
) -> None:
    assert verdict(rule, manifest, found, published=published) == expected  # type: ignore[arg-type]


def test_a_set_that_may_not_go_on_says_why_in_plain_json() -> None:
    found = differences(manifest_of(2, amount="100"), {"transactions": STORED})
    assert problem_of("ok", [], deliveries={}) is None
    missing = problem_of("waits", [], deliveries=CHOSEN)
    assert missing is not None
    assert (missing["rule"], missing["state"]) == ("manifest_required", "waits")
    problem = problem_of("disputed", found, deliveries=CHOSEN)
    assert problem is not None
    assert json.loads(json.dumps(problem)) == problem
    assert (problem["rule"], problem["state"]) == ("control_totals", "disputed")
    assert problem["deliveries"] == CHOSEN
    assert problem["message"] == "; ".join(one.sentence for one in found)
    assert problem["differences"][1] == {
        "entity": "transactions",
        "what": "sum of amount",
        "expected": "100.00",
        "found": "99.50",
        "difference": "-0.50",
    }


def test_a_long_list_of_differences_is_cut_in_the_message_and_whole_in_the_list() -> None:
    problem = problem_of("blocked", ANY * 9, deliveries=CHOSEN)
    assert problem is not None
    assert problem["message"].endswith("; and 4 more")
    assert len(problem["differences"]) == 9


@pytest.mark.parametrize(
    ("problem", "manifest", "complete", "expected"),
    [
        (None, None, ["transactions"], Agreement(may_go_on=True, is_vouched_for=False)),
        (None, manifest_of(1), ["transactions"], Agreement(may_go_on=True, is_vouched_for=True)),
        (None, manifest_of(1), ["clients", "transactions"], Agreement(may_go_on=True, is_vouched_for=False)),
        (None, manifest_of(1), [], Agreement(may_go_on=True, is_vouched_for=False)),
        ({"rule": "control_totals"}, manifest_of(1), ["transactions"], Agreement(False, False, {"rule": "control_totals"})),
    ],
)
def test_a_manifest_that_names_every_file_and_agrees_makes_waiting_for_more_needless(
    problem: dict[str, str] | None, manifest: Manifest | None, complete: list[str], expected: Agreement
) -> None:
    assert agreement(problem, manifest, complete, is_last=True) == expected


SHA256 = "ab" * 32


@pytest.mark.parametrize(
    ("totals", "is_last", "expected"),
    [
        ({"records": 1}, False, False),
        ({"records": 1}, True, True),
        ({"sha256": SHA256}, False, True),
        ({"sha256": SHA256, "records": 1}, True, True),
    ],
)
def test_counts_that_came_before_a_file_do_not_say_that_it_was_the_last(
    totals: dict[str, Any], is_last: bool, expected: bool
) -> None:
    about = {"transactions": {**totals}, "clients": {"sha256": SHA256}}
    manifest = read_manifest(json.dumps({"entities": about}).encode())
    assert agreement(None, manifest, list(about), is_last=is_last).is_vouched_for == expected
