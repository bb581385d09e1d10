"""`dataharvest contract` where it needs no database: checking a file against a contract that is not applied yet."""

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataharvest.cli.contract import contract

GOOD = "record_id;account_number;cash_balance;currency;taxes_paid\n1;0012;1500,50;EUR;0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "north.yaml").write_text('delimiter: ";"\ndecimal_mark: ","\n', encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("delimiter: ab\nmanifest: maybe\n", encoding="utf-8")
    (tmp_path / "accounts_20261123.csv").write_text(GOOD, encoding="utf-8")
    (tmp_path / "accounts_20261124.csv.gz").write_bytes(gzip.compress(GOOD.replace("EUR", "eur").encode()))
    (tmp_path / "accounts_20261125.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-9])
    (tmp_path / "today.csv").write_text(GOOD, encoding="utf-8")
    return tmp_path


def check(folder: Path, file_name: str, *options: str, tenant: str = "north", draft: str = "north.yaml") -> Result:
    arguments = ["check", str(folder / file_name), "--tenant", tenant, "--contract", str(folder / draft), *options]
    return CliRunner().invoke(contract, arguments)


def test_a_file_that_fits_exits_0(folder: Path) -> None:
    result = check(folder, "accounts_20261123.csv")

    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "The file fits.")


@pytest.mark.parametrize(
    ("file_name", "sentence"),
    [("accounts_20261124.csv.gz", "line 2 'eur'"), ("accounts_20261125.csv.gz", "ends before its end mark")],
)
def test_a_file_that_does_not_fit_exits_1_and_says_why(folder: Path, file_name: str, sentence: str) -> None:
    result = check(folder, file_name)

    assert result.exit_code == 1
    assert sentence in result.output


def test_a_file_whose_name_says_nothing_needs_its_entity(folder: Path) -> None:
    assert check(folder, "today.csv").exit_code == 2
    assert check(folder, "today.csv", "--entity", "futures").exit_code == 2
    assert check(folder, "today.csv", "--entity", "accounts").exit_code == 0


def test_every_mistake_of_a_contract_is_printed_with_its_place(folder: Path) -> None:
    result = check(folder, "accounts_20261123.csv", draft="broken.yaml")

    assert result.exit_code == 1
    assert "broken.yaml:1:12: delimiter: " in result.stderr
    assert "broken.yaml:2:11: manifest: " in result.stderr


@pytest.mark.parametrize("tenant", ["", ".", "..", "a/b", "a b", "x" * 65])
def test_a_tenant_has_a_tenants_name(folder: Path, tenant: str) -> None:
    assert check(folder, "accounts_20261123.csv", tenant=tenant).exit_code == 2
