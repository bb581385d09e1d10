"""What an object key says, and the sentence for each that says nothing."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.keys import ObjectName, parse_object_key

ENTITIES = all_entities()
FOLDERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)


def parse(key: str) -> ObjectName:
    return parse_object_key(key, entities=ENTITIES)


@pytest.mark.parametrize(
    "folders", ["", "in/", "2024/03/28/", "end of day/", "a+b/", "Größe & Maß/", "//", "line\nbreak/", "accounts_20230101.csv/"]
)
def test_whatever_lies_between_tenant_and_file_name_is_the_tenants_own_business(folders: str) -> None:
    name = parse(f"north-bank/{folders}accounts_20240328.csv")
    assert (name.tenant, name.entity, name.business_date) == ("north-bank", "accounts", date(2024, 3, 28))
    assert (name.kind, name.compression) == ("data", None)


@pytest.mark.parametrize(
    ("ending", "compression"),
    [("csv", None), ("csv.gz", "gz"), ("csv.zst", "zst"), ("CSV", None), ("Csv.GZ", "gz"), ("csv.Zst", "zst")],
)
def test_the_ending_tells_the_compression_in_any_case(ending: str, compression: str | None) -> None:
    assert parse(f"t/clients_20240229.{ending}").compression == compression


def test_a_manifest_has_a_date_and_no_entity() -> None:
    name = parse("t/control/manifest_20240328.json")
    assert name == ObjectName(tenant="t", business_date=date(2024, 3, 28), kind="manifest", entity=None, compression=None)


@pytest.mark.parametrize("tenant", ["a", "A.b_c-9", "x" * 64, "...", "-", "2024"])
def test_a_tenant_is_1_to_64_plain_characters(tenant: str) -> None:
    assert parse(f"{tenant}/accounts_20240328.csv").tenant == tenant


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("accounts_20240328.csv", "unknown_key_pattern"),
        ("", "unknown_key_pattern"),
        ("t/", "unknown_key_pattern"),
        ("t/accounts_20240328.csv/", "unknown_key_pattern"),
        ("t/accounts_2024-03-28.csv", "unknown_key_pattern"),
        ("t/accounts_2024032.csv", "unknown_key_pattern"),
        ("t/accounts_٢٠٢٤٠٣٢٨.csv", "unknown_key_pattern"),
        ("t/accounts_20240328.csv.bz2", "unknown_key_pattern"),
        ("t/accounts_20240328.csv\n", "unknown_key_pattern"),
        ("t/accounts_20240328", "unknown_key_pattern"),
        ("t/_20240328.csv", "unknown_key_pattern"),
        ("t/accounts20240328.csv", "unknown_key_pattern"),
        ("t/accounts_20240328.json", "unknown_key_pattern"),
        ("t/manifest_20240328.json.gz", "unknown_key_pattern"),
        ("t/nul\0/accounts_20240328.csv", "unknown_key_pattern"),
        (f"t/{'ü' * 512}/accounts_20240328.csv", "unknown_key_pattern"),
        ("t/holdings_20240328.csv", "unknown_entity"),
        ("t/Accounts_20240328.csv", "unknown_entity"),
        ("t/my_accounts_20240328.csv", "unknown_entity"),
        ("t/manifest_20240328.csv", "unknown_entity"),
        ("t/accounts_20230229.csv", "impossible_date"),
        ("t/accounts_00000101.csv", "impossible_date"),
        ("t/accounts_20241301.csv", "impossible_date"),
        ("t/manifest_20240100.json", "impossible_date"),
        ("/accounts_20240328.csv", "tenant_name"),
        ("../accounts_20240328.csv", "tenant_name"),
        ("./accounts_20240328.csv", "tenant_name"),
        ("north bank/accounts_20240328.csv", "tenant_name"),
        ("bänk/accounts_20240328.csv", "tenant_name"),
        (f"{'x' * 65}/accounts_20240328.csv", "tenant_name"),
        ("t\n/accounts_20240328.csv", "tenant_name"),
    ],
)
def test_a_key_that_breaks_a_rule_is_rejected_by_its_name(key: str, rule: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse(key)
    assert caught.value.rule == rule


def test_the_reason_says_what_was_expected_and_whose_file_it_is() -> None:
    with pytest.raises(Rejected, match="expected one of accounts, clients, portfolios, transactions") as caught:
        parse("t/holdings_20240328.csv")
    assert caught.value.details == {"key": "t/holdings_20240328.csv", "tenant": "t", "entity": "holdings"}


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_either_understood_or_rejected(key: str) -> None:
    try:
        parse(key)
    except Rejected as rejected:
        assert rejected.rule in {"unknown_key_pattern", "unknown_entity", "impossible_date", "tenant_name"}


@given(day=st.dates(), entity=st.sampled_from(sorted(ENTITIES)), folder=FOLDERS)
def test_every_date_of_every_entity_is_read_back(day: date, entity: str, folder: str) -> None:
    name = parse(f"t/{folder}/{entity}_{day.isoformat().replace('-', '')}.csv")
    assert (name.business_date, name.entity) == (day, entity)
