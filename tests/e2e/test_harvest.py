"""`dataharvest harvest` as a user types it, on the real services."""

import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zstandard

from tests.conftest import Command, RunWorkers
from tests.programs import PROGRAM

EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
# Worked out by hand from the four files, message ids by the formula of the contract.
CLIENTS = """\
{"topic":"outbound.clients","key":"acme|1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d","value":{"message_id":"48d9fbfd-c839-5453-a95d-64960815e6ab","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"client_reference":"1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d","tax_free_allowance":"1602.00","taxes_paid":"200.25","tax_free_allowance_left":"1401.75"}}
{"topic":"outbound.clients","key":"acme|9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f","value":{"message_id":"607bb92c-2fcf-5c26-9e56-d5cc9f5c7b3c","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"client_reference":"9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f","tax_free_allowance":"801.00","taxes_paid":"900.00","tax_free_allowance_left":"0.00"}}
{"topic":"outbound.clients","key":"acme|c0ffee00-1111-4222-8333-444455556666","value":{"message_id":"0eec94b4-22fd-57c9-adc4-b26d9bf6ae03","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"client_reference":"c0ffee00-1111-4222-8333-444455556666","tax_free_allowance":"500.00","taxes_paid":"0.00","tax_free_allowance_left":"500.00"}}
"""  # noqa: E501
PORTFOLIOS = """\
{"topic":"outbound.portfolios","key":"acme|90751f3a-0c6e-4a3e-9a55-1d2e3f405162","value":{"message_id":"30a0fddd-a68f-5dd3-b122-83c8f4a52285","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"portfolio_reference":"90751f3a-0c6e-4a3e-9a55-1d2e3f405162","cash_balance":"15000.00","currency":"EUR","number_of_transactions":3,"sum_of_deposits":"5250.75"}}
{"topic":"outbound.portfolios","key":"acme|a1b2c3d4-1111-4aaa-8bbb-0123456789ab","value":{"message_id":"6612c4be-1d11-5b8f-a0b1-686df16cf602","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"portfolio_reference":"a1b2c3d4-1111-4aaa-8bbb-0123456789ab","cash_balance":"2750.50","currency":"EUR","number_of_transactions":2,"sum_of_deposits":"1000.0001"}}
{"topic":"outbound.portfolios","key":"acme|a1b2c3d4-2222-4aaa-8bbb-0123456789ab","value":{"message_id":"b481d28e-2508-53ac-baa4-0d6b5dd778e2","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"portfolio_reference":"a1b2c3d4-2222-4aaa-8bbb-0123456789ab","cash_balance":"-310.0725","currency":"USD","number_of_transactions":1,"sum_of_deposits":"0.00"}}
{"topic":"outbound.portfolios","key":"acme|a1b2c3d4-3333-4aaa-8bbb-0123456789ab","value":{"message_id":"5edddb69-2219-52bc-8b68-df0089cf0a87","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"portfolio_reference":"a1b2c3d4-3333-4aaa-8bbb-0123456789ab","cash_balance":"0.00","currency":"EUR","number_of_transactions":0,"sum_of_deposits":"0.00"}}
{"topic":"outbound.portfolios","key":"acme|a1b2c3d4-4444-4aaa-8bbb-0123456789ab","value":{"message_id":"df7291b7-04d9-51bc-a70b-2464f59d964e","tenant":"acme","business_date":"2026-11-23","version":1,"supersedes":null,"portfolio_reference":"a1b2c3d4-4444-4aaa-8bbb-0123456789ab","cash_balance":"0.00","currency":"EUR","number_of_transactions":0,"sum_of_deposits":"0.00"}}
"""  # noqa: E501

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with the example's files for a date; ``without`` some, with ``files`` added or replaced."""

    def make(day: str = "20261123", *, without: tuple[str, ...] = (), name: str = "in", **files: bytes) -> Path:
        made = tmp_path / name
        made.mkdir(exist_ok=True)
        for path in EXAMPLES.iterdir():
            entity = path.name.partition("_")[0]
            if entity not in without:
                (made / f"{entity}_{day}.csv").write_bytes(files.get(entity, path.read_bytes()))
        return made

    return make


@pytest.fixture(scope="module")
def worker(running_workers: RunWorkers) -> Iterator[None]:
    with running_workers(1):
        yield


def processes_below(home: str) -> list[psutil.Process]:
    """Workers and supervisors whose environment names this home."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            line = process.info["cmdline"] or []
            if "worker" in line[-1:] and process.environ().get("DATAHARVEST_HOME") == home:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_example_gives_exactly_its_messages_and_again_nothing_new(
    dataharvest: Command, stack_environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"

    first = dataharvest("harvest", str(EXAMPLES), "--tenant", "acme", "--out", str(out))

    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert out.read_text() == CLIENTS + PORTFOLIOS
    assert "8 messages" in first.stderr
    assert "dataharvest stack down" in first.stderr
    assert processes_below(stack_environment["DATAHARVEST_HOME"]) == []

    second = dataharvest("harvest", str(EXAMPLES), "--tenant", "acme")

    assert (second.returncode, second.stdout) == (0, "")
    assert "nothing new: the same content was published before" in second.stderr
    assert "Traceback" not in first.stderr + second.stderr


def test_an_interrupted_harvest_ends_its_workers_and_what_it_uploaded_is_not_lost(
    dataharvest: Command, stack_environment: dict[str, str], folder: Folder
) -> None:
    home = stack_environment["DATAHARVEST_HOME"]
    command = [PROGRAM, "harvest", str(folder(without=("clients",))), "--tenant", "interrupted"]
    environment = {**os.environ, "DATAHARVEST_HOME": home}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not processes_below(home):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert processes_below(home) == []

    again = dataharvest("harvest", str(folder()), "--tenant", "interrupted")
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == 8


def test_a_killed_harvest_leaves_no_worker_behind(stack_environment: dict[str, str], folder: Folder) -> None:
    home = stack_environment["DATAHARVEST_HOME"]
    command = [PROGRAM, "harvest", str(folder(without=("clients",))), "--tenant", "killed", "--timeout", "60"]
    with subprocess.Popen(command, env={**os.environ, "DATAHARVEST_HOME": home}, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not processes_below(home):
            time.sleep(0.02)
        process.kill()

    deadline = time.monotonic() + 60
    while processes_below(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_below(home) == []


@pytest.mark.usefixtures("worker")
class TestWithAWorkerThatRuns:
    def test_several_dates_and_compressed_files_work_and_other_files_are_skipped(
        self, dataharvest: Command, folder: Folder, stack_environment: dict[str, str]
    ) -> None:
        made = folder("20261120")
        folder("20261121")
        for path, pack in (("accounts_20261120.csv", gzip.compress), ("clients_20261120.csv", zstandard.compress)):
            ending = ".gz" if pack is gzip.compress else ".zst"
            (made / f"{path}{ending}").write_bytes(pack((made / path).read_bytes()))
            (made / path).unlink()
        (made / "README.txt").write_text("not for the bucket")
        (made / ".DS_Store").write_bytes(b"\0")
        (made / "archive").mkdir()

        done = dataharvest("harvest", str(made), "--tenant", "dates", "--workers", "2")

        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(line["value"]["business_date"] for line in lines) == ["2026-11-20"] * 8 + ["2026-11-21"] * 8
        assert [(line["topic"], line["key"]) for line in lines] == sorted((line["topic"], line["key"]) for line in lines)
        assert all(f"skipped: {name}" in done.stderr for name in ("README.txt", ".DS_Store", "archive"))
        assert processes_below(stack_environment["DATAHARVEST_HOME"]) == [], "it started workers beside the one that runs"

    def test_a_folder_without_some_files_is_incomplete_and_the_rest_completes_it(
        self, dataharvest: Command, folder: Folder
    ) -> None:
        part = dataharvest("harvest", str(folder(without=("clients", "portfolios"), name="part")), "--tenant", "part")
        assert (part.returncode, part.stdout) == (3, "")
        assert "2026-11-23: incomplete: waits for clients, portfolios" in part.stderr

        rest = dataharvest("harvest", str(folder(without=("accounts", "transactions"), name="rest")), "--tenant", "part")
        assert rest.returncode == 0, rest.stderr
        assert len(rest.stdout.splitlines()) == 8

    def test_a_correction_publishes_only_what_it_changes(self, dataharvest: Command, folder: Folder) -> None:
        first = dataharvest("harvest", str(folder()), "--tenant", "corrected")
        before = {line["key"]: line["value"] for line in map(json.loads, first.stdout.splitlines())}
        changed = (EXAMPLES / "accounts_20261123.csv").read_bytes().replace(b"15000.00", b"15000.01")

        second = dataharvest("harvest", str(folder(accounts=changed)), "--tenant", "corrected")

        assert second.returncode == 0, second.stderr
        [line] = [json.loads(line) for line in second.stdout.splitlines()]
        assert (line["value"]["version"], line["value"]["cash_balance"]) == (2, "15000.01")
        assert line["value"]["supersedes"] == before[line["key"]]["message_id"]

    def test_services_of_the_users_own_are_used_and_that_is_said(
        self, dataharvest: Command, folder: Folder, stack_environment: dict[str, str], tmp_path: Path
    ) -> None:
        own = {**stack_environment, "DATAHARVEST_HOME": str(tmp_path / "nothing-here")}

        done = dataharvest("harvest", str(folder()), "--tenant", "own", **own)

        assert done.returncode == 0, done.stderr
        assert "using the services that the environment names" in done.stderr
        assert "stack down" not in done.stderr
        assert not (tmp_path / "nothing-here" / "stack.env").exists()

    def test_a_badly_named_file_is_uploaded_and_reported_as_rejected(self, dataharvest: Command, folder: Folder) -> None:
        made = folder()
        (made / "accounts-20261123.csv").write_text("record_id\n")

        done = dataharvest("harvest", str(made), "--tenant", "misnamed")

        assert done.returncode == 3
        assert "misnamed/accounts-20261123.csv, rejected, rule unknown_key_pattern" in done.stderr
        assert len(done.stdout.splitlines()) == 8

    def test_it_says_what_it_waits_for_when_time_is_over(self, dataharvest: Command, folder: Folder) -> None:
        done = dataharvest("harvest", str(folder()), "--tenant", "hurried", "--timeout", "0.1")

        assert done.returncode == 4
        assert "not done after 0.1 s; it still waits for:" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("{empty}", "--tenant", "t"), "has no file that ends in"),
            (("{empty}/absent", "--tenant", "t"), "is not a folder that can be read"),
            ((str(EXAMPLES), "--tenant", "a/b"), "'a/b' is not a tenant"),
            ((str(EXAMPLES), "--tenant", "t", "--out", "{empty}/absent/out"), "cannot be written"),
            ((str(EXAMPLES),), "Missing option '--tenant'"),
        ],
    )
    def test_wrong_usage_is_one_sentence(
        self, dataharvest: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
    ) -> None:
        done = dataharvest("harvest", *(one.replace("{empty}", str(tmp_path)) for one in arguments))

        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_absent_services_are_one_sentence(dataharvest: Command, stack_environment: dict[str, str]) -> None:
    nobody = {**stack_environment, "DATAHARVEST_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:9/none"}

    done = dataharvest("harvest", str(EXAMPLES), "--tenant", "t", **nobody)

    assert (done.returncode, done.stdout) == (1, "")
    assert "dataharvest harvest: PostgreSQL" in done.stderr
    assert "Traceback" not in done.stderr
