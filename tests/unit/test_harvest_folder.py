"""What a folder leads to: keys, dates, what is skipped, and what is wrong usage."""

from datetime import date
from pathlib import Path

import pytest

from dataharvest.harvest.folder import WrongUsage, plan_uploads

ENTITIES = ("accounts", "clients")


def filled(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).write_bytes(b"x")
    return directory


def test_files_get_the_tenants_keys_in_order_of_name(tmp_path: Path) -> None:
    plan = plan_uploads(filled(tmp_path, "clients_20240328.csv.gz", "accounts_20240327.CSV"), tenant="t", entities=ENTITIES)
    assert [one.key for one in plan.uploads] == ["t/accounts_20240327.CSV", "t/clients_20240328.csv.gz"]
    assert plan.dates == [date(2024, 3, 27), date(2024, 3, 28)]


@pytest.mark.parametrize("name", ["accounts.csv", "invoices_20240328.csv", "accounts_20240231.csv.zst", "totals.json"])
def test_a_badly_named_file_is_uploaded_and_belongs_to_no_set(tmp_path: Path, name: str) -> None:
    [upload] = plan_uploads(filled(tmp_path, name), tenant="t", entities=ENTITIES).uploads
    assert (upload.key, upload.business_date, upload.is_manifest) == (f"t/{name}", None, False)


def test_a_manifest_is_part_of_its_set(tmp_path: Path) -> None:
    plan = plan_uploads(filled(tmp_path, "manifest_20240328.json"), tenant="t", entities=ENTITIES)
    assert plan.uploads[0].is_manifest
    assert plan.dates == [date(2024, 3, 28)]


def test_folders_hidden_and_other_files_are_skipped_by_name(tmp_path: Path) -> None:
    (tmp_path / "archive_20240328.csv").mkdir()
    filled(tmp_path, ".DS_Store", "._accounts_20240328.csv", "README.txt", "accounts_20240328.csv")
    plan = plan_uploads(tmp_path, tenant="t", entities=ENTITIES)
    assert plan.skipped == (".DS_Store", "._accounts_20240328.csv", "README.txt", "archive_20240328.csv")


@pytest.mark.parametrize("tenant", ["", ".", "..", "a/b", "a b", "ü", "x" * 65, "\udcff", "a/"])
def test_what_is_no_tenant_is_wrong_usage(tmp_path: Path, tenant: str) -> None:
    with pytest.raises(WrongUsage, match="is not a tenant"):
        plan_uploads(filled(tmp_path, "accounts_20240328.csv"), tenant=tenant, entities=ENTITIES)


def test_a_folder_without_files_to_upload_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="has no file that ends in"):
        plan_uploads(filled(tmp_path, "README.txt"), tenant="t", entities=ENTITIES)


def test_a_file_in_place_of_a_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="is not a folder that can be read"):
        plan_uploads(filled(tmp_path, "a.csv") / "a.csv", tenant="t", entities=ENTITIES)


def test_dates_are_found_where_the_tenants_contract_says(tmp_path: Path) -> None:
    filled(tmp_path, "accounts_28.03.2024.csv", "clients_20240329.csv", "manifest_28.03.2024.json")
    plan = plan_uploads(tmp_path, tenant="t", entities=ENTITIES).dated("DD.MM.YYYY", entities=ENTITIES)
    assert [one.business_date for one in plan.uploads] == [date(2024, 3, 28), None, date(2024, 3, 28)]
    assert [one.is_manifest for one in plan.uploads] == [False, False, True]
