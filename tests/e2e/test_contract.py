"""A tenant whose files have another form, as an operator brings it in: check, apply, harvest, and later change a rule."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, RunWorkers
from tests.german import GERMAN_YAML, german

EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
# Worked out by hand from the example's four files.
CLIENTS = {
    "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f": ("801.00", "900.00", "0.00"),
    "1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d": ("1602.00", "200.25", "1401.75"),
    "c0ffee00-1111-4222-8333-444455556666": ("500.00", "0.00", "500.00"),
}
PORTFOLIOS = {
    "90751f3a-0c6e-4a3e-9a55-1d2e3f405162": ("15000.00", "EUR", 3, "5250.75"),
    "a1b2c3d4-1111-4aaa-8bbb-0123456789ab": ("2750.50", "EUR", 2, "1000.0001"),
    "a1b2c3d4-2222-4aaa-8bbb-0123456789ab": ("-310.0725", "USD", 1, "0.00"),
    "a1b2c3d4-3333-4aaa-8bbb-0123456789ab": ("0.00", "EUR", 0, "0.00"),
    "a1b2c3d4-4444-4aaa-8bbb-0123456789ab": ("0.00", "EUR", 0, "0.00"),
}


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """A folder with the example's files in the German form, with ``more`` at the end of transactions; and their contract."""

    def make(more: bytes = b"") -> Path:
        folder = tmp_path / f"in{len(more)}"
        folder.mkdir()
        for path in EXAMPLES.glob("*.csv"):
            name, content = german(path.name, path.read_bytes() + (more if path.name.startswith("transactions") else b""))
            (folder / name).write_bytes(content)
        (tmp_path / "contract.yaml").write_text(GERMAN_YAML, encoding="utf-8")
        return folder

    return make


def values_of(line: dict[str, Any]) -> tuple[Any, ...]:
    about = ("tenant", "business_date", "version", "supersedes", "message_id", "client_reference", "portfolio_reference")
    return tuple(value for name, value in line["value"].items() if name not in about)


def test_files_in_another_form_lead_to_exactly_the_same_values(
    dataharvest: Command, files: Callable[..., Path], tmp_path: Path
) -> None:
    folder, contract = files(), str(tmp_path / "contract.yaml")

    for path in sorted(folder.iterdir()):
        checked = dataharvest("contract", "check", str(path), "--tenant", "nord", "--contract", contract)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert dataharvest("contract", "check", str(path), "--tenant", "nord").returncode == 1
    applied = dataharvest("contract", "apply", contract, "--tenant", "nord", "--yes")
    harvested = dataharvest("harvest", str(folder), "--tenant", "nord")

    assert applied.returncode == 0, applied.stderr
    assert "delimiter: ',' → ';'" in applied.stdout
    assert "stored: nord, version 1" in applied.stdout
    assert harvested.returncode == 0, harvested.stderr
    lines = [json.loads(line) for line in harvested.stdout.splitlines()]
    found = {line["key"].partition("|")[2]: values_of(line) for line in lines}
    assert found == CLIENTS | PORTFOLIOS
    assert {line["value"]["business_date"] for line in lines} == {"2026-11-23"}
    [one] = json.loads(dataharvest("status", "--tenant", "nord", "--json").stdout)["sets"]
    assert [delivery["contract_version"] for delivery in one["deliveries"]] == [1, 1, 1, 1]


def test_a_set_that_the_contract_held_up_goes_on_when_a_new_version_allows_it(
    dataharvest: Command, running_workers: RunWorkers, files: Callable[..., Path], tmp_path: Path
) -> None:
    folder = files(b"7,99999999,14e56792,1.5,DEPOSIT\n8,12345678,14e56793,1.2.3,DEPOSIT\n")
    contract = tmp_path / "contract.yaml"

    def apply(more: str) -> None:
        contract.write_text(GERMAN_YAML + more, encoding="utf-8")
        done = dataharvest("contract", "apply", str(contract), "--tenant", "west", "--yes")
        assert done.returncode == 0, done.stderr

    def status() -> dict[str, Any]:
        [one] = json.loads(dataharvest("status", "--tenant", "west", "--json").stdout)["sets"]
        return dict(one)

    def wait_until(state: str, waits_for: list[str]) -> None:
        deadline = time.monotonic() + 120
        while (status()["state"], status()["waits_for"]) != (state, waits_for):
            assert time.monotonic() < deadline, status()
            time.sleep(0.5)

    with running_workers(1, DATAHARVEST_SWEEP_INTERVAL_S="2"):
        apply("")
        harvested = dataharvest("harvest", str(folder), "--tenant", "west")
        assert (harvested.returncode, harvested.stdout) == (3, ""), harvested.stderr
        assert status()["waits_for"] == ["quarantine of transactions"]
        apply("quarantine_threshold: 1\n")
        wait_until("blocked", ["orphans"])
        apply("quarantine_threshold: 1\norphans_block: []\n")
        wait_until("published", [])
        assert status()["warnings"][-1] == "quarantine: 1 of transactions, the contract allows 1"
