"""The fields that go out, their order and how money is written."""

import json
from datetime import date
from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.rules.money import money_text
from dataharvest.rules.outbound_messages import Envelope, changed_messages
from dataharvest.stages.publish import contents_of
from dataharvest.transformers import AMOUNT, all_transformers

CLIENT, PORTFOLIO = str(UUID(int=1)), str(UUID(int=2))
FIELDS = {
    "outbound.clients": ["client_reference", "tax_free_allowance", "taxes_paid", "tax_free_allowance_left"],
    "outbound.portfolios": ["portfolio_reference", "cash_balance", "currency", "number_of_transactions", "sum_of_deposits"],
}
MONEY = {
    "801": "801.00",
    "120.25": "120.25",
    "0": "0.00",
    "-1.5": "-1.50",
    "0.0001": "0.0001",
    "1234567890123456.1230": "1234567890123456.123",
}

amounts = st.decimals(Decimal("-999999999999999.9999"), Decimal("999999999999999.9999"), places=4)


def money(*texts: str | Decimal) -> pl.Series:
    return pl.Series(list(map(Decimal, texts)), dtype=AMOUNT)


def payload_of(outbound: OutboundMessage, built: pl.DataFrame) -> dict[str, object]:
    envelope = Envelope("acme", date(2026, 11, 23), 1, outbound.name, outbound.reference_field)
    [row] = changed_messages(contents_of(built, outbound), last={}, envelope=envelope)
    payload: dict[str, object] = json.loads(row.payload)
    return payload


def clients(allowance: str | Decimal, paid: str | Decimal, left: str | Decimal) -> pl.DataFrame:
    frame = pl.DataFrame({"client_reference": [CLIENT], "tax_free_allowance": money(allowance)})
    values = pl.DataFrame({"reference": [CLIENT], "taxes_paid": money(paid), "tax_free_allowance_left": money(left)})
    return all_outbound()["outbound.clients"].build(clients=frame, values=values)


def portfolios(balance: str | Decimal, count: int, deposits: str | Decimal) -> pl.DataFrame:
    frame = pl.DataFrame({"portfolio_reference": [PORTFOLIO], "account_number": ["0012"]})
    accounts = pl.DataFrame({"account_number": ["0012"], "cash_balance": money(balance), "currency": ["EUR"]})
    values = pl.DataFrame({"reference": [PORTFOLIO], "number_of_transactions": [count], "sum_of_deposits": money(deposits)})
    return all_outbound()["outbound.portfolios"].build(portfolios=frame, accounts=accounts, values=values)


def test_the_client_message_is_the_contract_s() -> None:
    payload = payload_of(all_outbound()["outbound.clients"], clients("801", "120.25", "680.7500"))
    assert list(payload)[5:] == FIELDS["outbound.clients"]
    assert [payload[name] for name in FIELDS["outbound.clients"]] == [CLIENT, "801.00", "120.25", "680.75"]


def test_the_portfolio_message_is_the_contract_s() -> None:
    payload = payload_of(all_outbound()["outbound.portfolios"], portfolios("15000.00", 3, "5000"))
    assert list(payload)[5:] == FIELDS["outbound.portfolios"]
    assert [payload[name] for name in FIELDS["outbound.portfolios"]] == [PORTFOLIO, "15000.00", "EUR", 3, "5000.00"]


@pytest.mark.parametrize(("amount", "text"), MONEY.items())
def test_money_is_text_with_at_least_two_decimals(amount: str, text: str) -> None:
    assert payload_of(all_outbound()["outbound.clients"], clients(amount, amount, amount))["taxes_paid"] == text


@given(amounts, amounts)
def test_money_on_its_way_out_is_exact(balance: Decimal, deposits: Decimal) -> None:
    payload = payload_of(all_outbound()["outbound.portfolios"], portfolios(balance, 0, deposits))
    assert (payload["cash_balance"], payload["sum_of_deposits"]) == (money_text(balance), money_text(deposits))
    assert (Decimal(str(payload["cash_balance"])), Decimal(str(payload["sum_of_deposits"]))) == (balance, deposits)


def test_contents_come_in_order_of_reference() -> None:
    references = [str(UUID(int=number)) for number in (3, 1, 2)]
    built = pl.DataFrame({"reference": references, **dict.fromkeys(FIELDS["outbound.clients"][1:], money("1", "2", "3"))})
    found = contents_of(built, all_outbound()["outbound.clients"])
    assert [one["reference"] for one in found] == sorted(references)


def test_there_are_exactly_the_contract_s_messages() -> None:
    assert {topic: [one.reference_field, *one.fields] for topic, one in all_outbound().items()} == FIELDS


@pytest.mark.parametrize("one", all_outbound().values(), ids=lambda one: str(one.topic))
def test_a_message_takes_values_that_exist_and_waits_for_them(one: OutboundMessage) -> None:
    assert one.rule.needs == {"relation_established", *one.takes}
    for transformer, names in one.takes.items():
        assert set(names) <= set(all_transformers()[transformer].values)
        assert all_transformers()[transformer].per == one.per
