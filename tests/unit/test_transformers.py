"""The values: exact, the same twice and in any order of rows, and equal to what a plain loop computes."""

from collections import defaultdict
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.transformers import AMOUNT, COUNT, Transformer, all_transformers

Rows = list[dict[str, Any]]

ACCOUNTS = ("0012", "12", "0013")
CLIENTS = tuple(str(UUID(int=number)) for number in range(1, 4))
PORTFOLIOS = tuple(str(UUID(int=number)) for number in range(11, 16))
TYPES: dict[str, pl.DataType] = {"amount": AMOUNT, "taxes_paid": AMOUNT, "tax_free_allowance": AMOUNT}

amounts = st.decimals(Decimal("-999999999999999.9999"), Decimal("999999999999999.9999"), places=4)
accounts = st.fixed_dictionaries({one: amounts for one in ACCOUNTS}).map(
    lambda paid: [{"account_number": number, "taxes_paid": tax} for number, tax in paid.items()]
)
clients = st.dictionaries(st.sampled_from(CLIENTS), amounts).map(
    lambda found: [{"client_reference": one, "tax_free_allowance": left} for one, left in found.items()]
)
portfolios = st.dictionaries(st.sampled_from(PORTFOLIOS), st.tuples(st.sampled_from(CLIENTS), st.sampled_from(ACCOUNTS))).map(
    lambda found: [
        {"portfolio_reference": one, "client_reference": client, "account_number": account}
        for one, (client, account) in found.items()
    ]
)
bookings = st.fixed_dictionaries(
    {"account_number": st.sampled_from(ACCOUNTS), "amount": amounts, "keyword": st.sampled_from(["DEPOSIT", "deposit", "TAX"])}
)
sets = st.fixed_dictionaries(
    {"accounts": accounts, "clients": clients, "portfolios": portfolios, "transactions": st.lists(bookings, max_size=12)}
)


def compute(name: str, rows: dict[str, Rows]) -> dict[str, dict[str, Any]]:
    """Values by reference."""
    transformer = all_transformers()[name]
    frames = {entity: frame(rows[entity], columns) for entity, columns in transformer.reads.items()}
    values = transformer.compute(**frames)
    assert {column: values.schema[column] for column in transformer.values} == dict(transformer.values)
    assert values.columns == ["reference", *transformer.values]
    assert values["reference"].n_unique() == values.height
    return {row.pop("reference"): row for row in values.to_dicts()}


def frame(rows: Rows, columns: tuple[str, ...]) -> pl.DataFrame:
    schema = {name: TYPES.get(name, pl.String()) for name in columns}
    return pl.DataFrame([{name: row[name] for name in columns} for row in rows], schema=schema)


@given(sets)
def test_tax_is_that_of_a_plain_loop(rows: dict[str, Rows]) -> None:
    paid = {one["account_number"]: one["taxes_paid"] for one in rows["accounts"]}
    owned = defaultdict(set)
    for one in rows["portfolios"]:
        owned[one["client_reference"]].add(one["account_number"])
    expected = {}
    for client in rows["clients"]:
        taxes = sum((paid[account] for account in owned[client["client_reference"]]), Decimal())
        left = max(Decimal(), client["tax_free_allowance"] - taxes)
        expected[client["client_reference"]] = {"taxes_paid": taxes, "tax_free_allowance_left": left}
    assert compute("tax", rows) == expected


@given(sets)
def test_transactions_and_deposits_are_those_of_a_plain_loop(rows: dict[str, Rows]) -> None:
    counts, sums = {}, {}
    for portfolio in rows["portfolios"]:
        booked = [one for one in rows["transactions"] if one["account_number"] == portfolio["account_number"]]
        deposits = sum((one["amount"] for one in booked if one["keyword"] == "DEPOSIT"), Decimal())
        counts[portfolio["portfolio_reference"]] = {"number_of_transactions": len(booked)}
        sums[portfolio["portfolio_reference"]] = {"sum_of_deposits": deposits}
    assert compute("transactions", rows) == counts
    assert compute("sum_of_deposits", rows) == sums


@pytest.mark.parametrize("name", sorted(all_transformers()))
@given(rows=sets, data=st.data())
def test_the_same_rows_give_the_same_values_twice_and_in_any_order(name: str, rows: dict[str, Rows], data: st.DataObject) -> None:
    shuffled = {entity: data.draw(st.permutations(found)) for entity, found in rows.items()}
    assert compute(name, rows) == compute(name, rows) == compute(name, shuffled)


def a_set(**changes: Rows) -> dict[str, Rows]:
    rows: dict[str, Rows] = {
        "accounts": [
            {"account_number": "0012", "taxes_paid": Decimal(300)},
            {"account_number": "12", "taxes_paid": Decimal("0.0001")},
        ],
        "clients": [{"client_reference": CLIENTS[0], "tax_free_allowance": Decimal(801)}],
        "portfolios": [
            {"portfolio_reference": PORTFOLIOS[0], "client_reference": CLIENTS[0], "account_number": "0012"},
            {"portfolio_reference": PORTFOLIOS[1], "client_reference": CLIENTS[0], "account_number": "0012"},
        ],
        "transactions": [],
    }
    return {**rows, **changes}


def test_an_account_shared_by_two_portfolios_of_a_client_is_taxed_once() -> None:
    assert compute("tax", a_set())[CLIENTS[0]] == {"taxes_paid": Decimal(300), "tax_free_allowance_left": Decimal(501)}


def test_an_account_shared_by_two_clients_counts_for_both() -> None:
    rows = a_set()
    rows["clients"].append({"client_reference": CLIENTS[1], "tax_free_allowance": Decimal(1)})
    rows["portfolios"][1]["client_reference"] = CLIENTS[1]
    assert compute("tax", rows)[CLIENTS[1]] == {"taxes_paid": Decimal(300), "tax_free_allowance_left": Decimal(0)}


def test_a_client_without_portfolios_has_paid_nothing() -> None:
    values = compute("tax", a_set(portfolios=[]))
    assert values == {CLIENTS[0]: {"taxes_paid": Decimal(0), "tax_free_allowance_left": Decimal(801)}}


def test_a_portfolio_without_transactions_has_zeros() -> None:
    assert compute("transactions", a_set())[PORTFOLIOS[0]] == {"number_of_transactions": 0}
    assert compute("sum_of_deposits", a_set())[PORTFOLIOS[0]] == {"sum_of_deposits": Decimal(0)}


def test_accounts_that_differ_by_leading_zeros_are_two() -> None:
    booking = {"account_number": "12", "amount": Decimal(1), "keyword": "DEPOSIT"}
    assert compute("transactions", a_set(transactions=[booking]))[PORTFOLIOS[0]] == {"number_of_transactions": 0}


def test_sums_of_many_large_amounts_stay_exact() -> None:
    largest = Decimal("999999999999999.9999")
    booking = {"account_number": "0012", "amount": largest, "keyword": "DEPOSIT"}
    assert compute("sum_of_deposits", a_set(transactions=[booking] * 10_000))[PORTFOLIOS[0]] == {
        "sum_of_deposits": largest * 10_000
    }


@pytest.mark.parametrize("one", all_transformers().values(), ids=lambda one: str(one.name))
def test_every_transformer_declares_what_its_function_takes(one: Transformer) -> None:
    compute_function: Any = one.compute
    assert set(compute_function.__code__.co_varnames[: compute_function.__code__.co_argcount]) == set(one.reads)
    assert one.rule.provides == one.name
    assert set(one.values.values()) <= {AMOUNT, COUNT}
