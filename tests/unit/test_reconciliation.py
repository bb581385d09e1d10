"""That a statement shows every figure, and that no disagreement between two steps goes unnoticed."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.control_totals import exact_sum
from dataharvest.rules.manifest import EntityTotals, Manifest
from dataharvest.rules.reconciliation import differences
from dataharvest.rules.statement import (
    DeliveryFigures,
    OutboundFigures,
    RelationFigures,
    Statement,
    Unlike,
    ValueFigures,
    ValuesFromRows,
)
from dataharvest.rules.statement_lines import lines, notes
from dataharvest.rules.tiling import Totals

CLIENTS = DeliveryFigures(
    delivery_id=4,
    entity="clients",
    is_newest=True,
    ledger=Totals(5, 2, 1, 1, 1),
    recorded=Totals(5, 2, 1, 1, 1),
    recorded_sums={"tax_free_allowance": Decimal("806.0000")},
    row_count=2,
    quarantine_count=1,
    accepted_count=1,
    row_sums={"tax_free_allowance": Decimal("806.0000")},
)
TAX = ValueFigures(
    transformer="tax",
    per="client",
    is_done=True,
    expected_count=2,
    reference_count=2,
    sums={"taxes_paid": Decimal("11.25")},
    from_rows=ValuesFromRows(sums={"taxes_paid": Decimal("11.2500")}, unlike=Unlike()),
)
ORPHANS = {"accounts without a portfolio": 1}
RELATION = RelationFigures(
    is_done=True, expected_count=3, link_count=3, missing=Unlike(), expected_orphans=ORPHANS, orphan_counts=ORPHANS
)
OUT = OutboundFigures(
    topic="outbound.clients",
    is_done=True,
    takes={"tax": ("taxes_paid",)},
    copied_sums={"clients": {"tax_free_allowance": Decimal("806.0000")}},
    message_count=2,
    withdrawn_count=1,
    unsent_count=0,
    sums={"taxes_paid": Decimal("11.2500"), "tax_free_allowance": Decimal(806)},
    unlike=Unlike(),
)
EXACT = Statement(
    tenant="acme",
    business_date=date(2026, 11, 23),
    version=1,
    version_state="published",
    version_deliveries={"clients": 4},
    manifest=Manifest(entities={"clients": EntityTotals(records=5, sums={"tax_free_allowance": Decimal(806)})}),
    deliveries=(CLIENTS,),
    relation=RELATION,
    values=(TAX,),
    outbound=(OUT,),
)


def sentences(statement: Statement) -> list[str]:
    return [one.sentence for one in differences(statement)]


def with_delivery(**changes: object) -> Statement:
    return replace(EXACT, deliveries=(replace(CLIENTS, **changes),))  # type: ignore[arg-type]


def test_an_exact_set_has_no_difference_and_nothing_to_add() -> None:
    assert sentences(EXACT) == []
    assert notes(EXACT) == []


def test_the_statement_shows_every_step_in_order() -> None:
    shown = [(one.step, one.subject, one.delivery_id, one.what, one.text) for one in lines(EXACT)]
    assert shown == [
        ("file", "clients", None, "records", "5"),
        ("file", "clients", None, "sum of tax_free_allowance", "806.00"),
        ("chunks", "clients", 4, "read", "5"),
        ("chunks", "clients", 4, "persisted", "2"),
        ("chunks", "clients", 4, "quarantined", "1"),
        ("chunks", "clients", 4, "duplicate", "1"),
        ("chunks", "clients", 4, "accepted", "1"),
        ("table", "clients", 4, "rows", "2"),
        ("table", "clients", 4, "in quarantine", "1"),
        ("table", "clients", 4, "sum of tax_free_allowance", "806.00"),
        ("values", "links", None, "number", "3"),
        ("values", "accounts without a portfolio", None, "number", "1"),
        ("values", "tax", None, "references", "2"),
        ("values", "tax", None, "sum of taxes_paid", "11.25"),
        ("values", "tax", None, "unlike the rows", "0"),
        ("outbound", "outbound.clients", None, "messages", "2"),
        ("outbound", "outbound.clients", None, "withdrawn", "1"),
        ("outbound", "outbound.clients", None, "unsent", "0"),
        ("outbound", "outbound.clients", None, "sum of taxes_paid", "11.25"),
        ("outbound", "outbound.clients", None, "sum of tax_free_allowance", "806.00"),
        ("outbound", "outbound.clients", None, "unlike rows and values", "0"),
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            with_delivery(ledger=Totals(6, 2, 1, 1, 1), recorded=Totals(6, 2, 1, 1, 1)),
            ["clients: records is 5 expected, 6 found, difference 1",
             "clients: records accounted for in the ledger is 6 expected, 5 found, difference -1"],
        ),
        (with_delivery(recorded=Totals(5, 3, 0, 1, 1)),
         ["clients: records persisted by its chunks is 3 expected, 2 found, difference -1",
          "clients: records quarantined by its chunks is 0 expected, 1 found, difference 1"]),
        (with_delivery(row_count=1), ["clients: number of rows is 2 expected, 1 found, difference -1"]),
        (with_delivery(quarantine_count=0), ["clients: number of records in quarantine is 1 expected, 0 found, difference -1"]),
        (with_delivery(accepted_count=2),
         ["clients: number of records accepted as missing is 1 expected, 2 found, difference 1"]),
        (replace(EXACT, manifest=None, manifest_trouble="of another program"),
         ["manifest: what it says is known expected, not known found (of another program)"]),
        (with_delivery(recorded_sums={"tax_free_allowance": Decimal(800)}),
         ["clients: sum of tax_free_allowance in the table is 800.00 expected, 806.00 found, difference 6.00"]),
        (replace(EXACT, values=(replace(TAX, reference_count=1),)),
         ["tax: number of references is 2 expected, 1 found, difference -1",
          "outbound.clients: number of messages for values of tax is 1 expected, 2 found, difference 1"]),
        (replace(EXACT, relation=replace(RELATION, link_count=2, missing=Unlike(count=1, sample=("p",)))),
         ["links: number is 3 expected, 2 found, difference -1",
          "portfolios: number without their link is 0 expected, 1 found, difference 1 (p)"]),
        (replace(EXACT, relation=replace(RELATION, missing=Unlike(count=3, sample=("p", "q")))),
         ["portfolios: number without their link is 0 expected, 3 found, difference 3 (the first: p, q)"]),
        (replace(EXACT, relation=replace(RELATION, orphan_counts={"transactions without an account": 2})),
         ["accounts without a portfolio: number is 1 expected, 0 found, difference -1",
          "transactions without an account: number is 0 expected, 2 found, difference 2"]),
        (replace(EXACT, values=(replace(TAX, from_rows=ValuesFromRows(
            sums={"taxes_paid": Decimal("11.26")}, unlike=Unlike(count=2, sample=("a", "b")))),)),
         ["tax: sum of taxes_paid by the rows is 11.26 expected, 11.25 found, difference -0.01",
          "tax: number of clients with values unlike the rows is 0 expected, 2 found, difference 2 (a, b)"]),
        (replace(EXACT, outbound=(replace(OUT, unlike=Unlike(count=1, sample=("a",))),)),
         ["outbound.clients: number of messages unlike rows and values is 0 expected, 1 found, difference 1 (a)"]),
        (replace(EXACT, outbound=(replace(OUT, unsent_count=3),)),
         ["outbound.clients: number of unsent messages is 0 expected, 3 found, difference 3"]),
        (replace(EXACT, outbound=(replace(OUT, sums={"taxes_paid": Decimal("11.26"), "tax_free_allowance": Decimal(5)}),)),
         ["outbound.clients: sum of taxes_paid from values of tax is 11.25 expected, 11.26 found, difference 0.01",
          "outbound.clients: sum of tax_free_allowance from rows of clients is 806.00 expected, 5.00 found, difference -801.00"]),
    ],
)  # fmt: skip
def test_two_steps_that_disagree_are_named(statement: Statement, said: list[str]) -> None:
    assert sentences(statement) == said


def test_what_is_not_done_yet_is_not_compared_but_said() -> None:
    open_version = replace(
        EXACT,
        version_state="open",
        relation=replace(RELATION, is_done=False, link_count=0, missing=Unlike(count=3), orphan_counts={}),
        values=(replace(TAX, is_done=False, reference_count=0, from_rows=None),),
        outbound=(replace(OUT, is_done=False, message_count=0, unsent_count=9),),
    )
    assert sentences(open_version) == []
    assert notes(open_version) == ["version 1 is open: what is not done yet is not compared"]
    early = replace(EXACT, version=None, version_state=None, version_deliveries={}, values=(), outbound=(), manifest=None)
    assert sentences(early) == []
    assert len(notes(early)) == 2


def test_what_has_changed_since_is_not_compared_but_said() -> None:
    old = replace(EXACT, values=(replace(TAX, from_rows=None, is_other_logic=True),))
    assert sentences(old) == []
    assert notes(old) == ["tax: made by another declaration than today's, so it is not compared with the rows"]
    # Of fields that were others a sum says nothing.
    made = replace(EXACT, outbound=(replace(OUT, unlike=None, is_other_logic=True, sums={"taxes_paid": Decimal(1)}),))
    assert sentences(made) == []
    assert notes(made) == ["outbound.clients: made by another declaration than today's, so it is not compared with the rows"]
    changed = replace(EXACT, is_other_edition=True, relation=None, values=(replace(TAX, expected_count=None, from_rows=None),))
    assert sentences(changed) == []
    assert notes(changed) == [
        "version 1 is to be made anew, for records were repaired or accepted, a computation was asked for or an upgrade asks "
        "for it: its links, values and messages are not compared with the rows"
    ]


def test_what_a_published_version_went_out_without_is_said() -> None:
    later = replace(EXACT, values=(replace(TAX, is_done=False, reference_count=0, from_rows=None),), outbound=())
    assert sentences(later) == []
    assert notes(later) == ["tax: version 1 was published without it, so it is not compared"]
    # A message that takes it by now was not made by that declaration, but with values that there are none of.
    both = replace(later, outbound=(replace(OUT, unlike=None),))
    assert sentences(both) == []
    assert notes(both) == [
        "tax: version 1 was published without it, so it is not compared",
        "outbound.clients: it takes what another declaration than today's has made, so it is not compared with the rows",
    ]
    unrelated = replace(EXACT, relation=replace(RELATION, is_done=False))
    assert notes(unrelated) == ["links: version 1 was published without them, so they are not compared"]


def test_the_manifest_is_compared_with_the_newest_delivery_and_the_messages_with_the_versions() -> None:
    newer = replace(CLIENTS, delivery_id=9, row_sums={"tax_free_allowance": Decimal(1)}, recorded_sums=None)
    both = replace(EXACT, deliveries=(replace(CLIENTS, is_newest=False), newer))
    assert sentences(both) == [
        "clients: sum of tax_free_allowance is 806.00 expected, 1.00 found, difference -805.00"
        " (3 records of the file are not among the rows)"
    ]
    assert notes(both) == ["version 1 has delivery 4 of clients, 9 is newer"]


money = st.decimals(-(10**15) + 1, 10**15 - 1, places=4, allow_nan=False, allow_infinity=False)


@given(st.lists(money, max_size=40), money.filter(bool), st.sampled_from(["row_sums", "recorded_sums"]))
def test_one_cent_more_or_less_in_any_step_is_seen(amounts: list[Decimal], off: Decimal, where: str) -> None:
    total = {"tax_free_allowance": exact_sum(amounts)}
    message = replace(OUT, sums={**OUT.sums, **total}, copied_sums={"clients": total})
    manifest = Manifest(entities={"clients": EntityTotals(sums=total)})
    sound = replace(CLIENTS, row_sums=total, recorded_sums=total)
    exact = replace(EXACT, deliveries=(sound,), outbound=(message,), manifest=manifest)
    assert sentences(exact) == []
    wrong = replace(sound, **{where: {"tax_free_allowance": exact_sum([*amounts, off])}})  # type: ignore[arg-type]
    assert {abs(one.difference or 0) for one in differences(replace(exact, deliveries=(wrong,)))} == {abs(off)}
