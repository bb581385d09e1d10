"""Dates in object keys as a contract writes them."""

from datetime import date

import pytest

from dataharvest.errors import Rejected
from dataharvest.rules.keys import parse_object_key, tenant_of


def day_of(key: str, date_form: str) -> date:
    return parse_object_key(key, entities=("accounts",), date_form=date_form).business_date


@pytest.mark.parametrize(
    ("date_form", "written"),
    [
        ("YYYYMMDD", "20261103"),
        ("YYYY-MM-DD", "2026-11-03"),
        ("DDMMYYYY", "03112026"),
        ("MM.DD.YYYY", "11.03.2026"),
        ("YYYY_MM_DD", "2026_11_03"),
    ],
)
def test_a_date_is_read_in_the_contracts_form(date_form: str, written: str) -> None:
    for name in (f"accounts_{written}.csv", f"accounts_{written}.CSV.gz", f"manifest_{written}.json"):
        assert day_of(f"t/in/{name}", date_form) == date(2026, 11, 3)


@pytest.mark.parametrize(
    ("file_name", "rule"),
    [
        ("accounts_20261103.csv", "unknown_key_pattern"),
        ("accounts_2026-11-03.csv", "unknown_key_pattern"),
        ("accounts_11.03.2026.csv", "unknown_key_pattern"),
        ("accounts_31-02-2026.csv", "impossible_date"),
    ],
)
def test_another_form_is_rejected_and_the_sentence_names_the_right_one(file_name: str, rule: str) -> None:
    with pytest.raises(Rejected, match="DD-MM-YYYY") as caught:
        day_of(f"t/{file_name}", "DD-MM-YYYY")

    assert caught.value.rule == rule


def test_the_tenant_is_known_before_the_rest_of_the_key_is_read() -> None:
    assert tenant_of("north-bank/whatever") == "north-bank"
    with pytest.raises(Rejected) as caught:
        tenant_of("whatever")
    assert caught.value.rule == "unknown_key_pattern"
