"""Manifests and `dataharvest reconcile` as a sender and an operator meet them, on the real services."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dataharvest.status import SetStatus, StatusReport
from tests.conftest import Command, RunWorkers

EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
FILES = {path.name.partition("_")[0]: path.read_bytes() for path in sorted(EXAMPLES.iterdir())}
DAY, DATE = "20261123", "2026-11-23"
# Worked out by hand from the example.
GOOD: dict[str, Any] = {
    "accounts": {"records": 4, "sums": {"cash_balance": "17440.4275", "taxes_paid": 1100.25}},
    "clients": {"records": 3, "sums": {"tax_free_allowance": "2903"}},
    "portfolios": {"records": 5, "sha256": sha256(FILES["portfolios"]).hexdigest()},
}
WRONG = {**GOOD, "accounts": {"records": 5, "sums": {"cash_balance": "17440.4276"}}}


class Sender:
    """Whoever delivers folders for one tenant and looks at what came of them."""

    def __init__(self, tenant: str, folder: Path, command: Command) -> None:
        self.tenant = tenant
        self._folder = folder
        self._command = command

    def deliver(self, entities: Any = None, *, files: dict[str, bytes] | None = None) -> "subprocess.CompletedProcess[str]":
        """Harvest these files with a manifest: of these entities, or these bytes."""
        self._folder.mkdir()
        for entity, content in (files or {}).items():
            (self._folder / f"{entity}_{DAY}.csv").write_bytes(content)
        if entities is not None:
            text = entities if isinstance(entities, bytes) else json.dumps({"entities": entities}).encode()
            (self._folder / f"manifest_{DAY}.json").write_bytes(text)
        done = self._command("harvest", str(self._folder), "--tenant", self.tenant)
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()
        assert "Traceback" not in done.stderr
        return done

    def status(self) -> SetStatus:
        """The set."""
        answer = self._command("status", "--json", "--tenant", self.tenant)
        [found] = StatusReport.model_validate_json(answer.stdout).sets
        return found

    def reconcile(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """The statement of the set."""
        return self._command("reconcile", "--tenant", self.tenant, "--date", DATE, *options)


@pytest.fixture(scope="module", autouse=True)
def worker(running_workers: RunWorkers) -> Iterator[None]:
    with running_workers(1, DATAHARVEST_CORRECTION_SETTLE_S="0.5"):
        yield


@pytest.fixture
def sender(request: pytest.FixtureRequest, dataharvest: Command, tmp_path: Path) -> Sender:
    return Sender(request.node.name.removeprefix("test_")[:64], tmp_path / "in", dataharvest)


def test_totals_that_agree(sender: Sender) -> None:
    done = sender.deliver(GOOD, files=FILES)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 8), done.stderr
    one = sender.status()
    assert (one.state, one.problem, [manifest.state for manifest in one.manifests]) == ("published", None, ["read"])

    table = sender.reconcile()
    assert (table.returncode, table.stderr) == (0, "")
    assert "no differences" in table.stdout
    report = json.loads(sender.reconcile("--json").stdout)
    assert (report["version"], report["version_state"], report["differences"]) == (1, "published", [])
    rows = list(csv.DictReader(io.StringIO(sender.reconcile("--csv").stdout)))
    assert rows == [{name: str(value) for name, value in one.items()} for one in report["figures"]]
    shown = {(one["step"], one["subject"], one["figure"]): one["value"] for one in report["figures"]}
    for step in ("file", "table"):
        assert shown[step, "accounts", "sum of cash_balance"] == "17440.4275"
    assert [name for name in dict.fromkeys(one["step"] for one in rows)] == ["file", "chunks", "table", "values", "outbound"]


def test_totals_that_differ_and_are_corrected(sender: Sender) -> None:
    done = sender.deliver(WRONG, files=FILES)
    assert (done.returncode, done.stdout) == (3, "")
    sentences = (
        "accounts: records is 5 expected, 4 found, difference -1",
        "accounts: sum of cash_balance is 17440.4276 expected, 17440.4275 found, difference -0.0001",
    )
    one = sender.status()
    assert (one.state, one.version, one.waits_for) == ("blocked", None, ["control totals"])
    assert one.reason == f"{'; '.join(sentences)}."
    assert one.problem is not None
    assert one.problem["differences"] == [
        {"entity": "accounts", "what": "records", "expected": "5", "found": "4", "difference": "-1"},
        {"entity": "accounts", "what": "sum of cash_balance"}
        | {"expected": "17440.4276", "found": "17440.4275", "difference": "-0.0001"},
    ]
    assert f"{DATE}: blocked: {one.reason}" in done.stderr
    table = sender.reconcile()
    assert table.returncode == 1
    assert all(sentence in table.stdout for sentence in sentences)

    again = sender.deliver(GOOD)
    assert (again.returncode, len(again.stdout.splitlines())) == (0, 8), again.stderr
    assert (sender.status().state, sender.status().version) == ("published", 1)
    assert sender.reconcile().returncode == 0


def test_totals_that_come_late_and_differ(sender: Sender) -> None:
    assert sender.deliver(files=FILES).returncode == 0
    done = sender.deliver(WRONG)
    assert (done.returncode, done.stdout) == (3, "")
    one = sender.status()
    assert (one.state, one.version) == ("disputed", 1)
    assert one.reason.endswith("version 1 is published and stands.")
    assert f"{DATE}: disputed: " in done.stderr
    assert sender.reconcile().returncode == 1

    more = FILES["accounts"].rstrip(b"\n") + b"\n5,ACC-5,0.0001,EUR,0\n"
    portfolio = b"6,ACC-5,a1b2c3d4-5555-4aaa-8bbb-0123456789ab,c0ffee00-1111-4222-8333-444455556666,X\n"
    portfolios = FILES["portfolios"].rstrip(b"\n") + b"\n" + portfolio
    done = sender.deliver({"accounts": WRONG["accounts"]}, files={"accounts": more, "portfolios": portfolios})
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["value"]["version"] for line in done.stdout.splitlines()] == [2]
    assert (sender.status().state, sender.status().version) == ("published", 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "line 1, column 2: not JSON"),
        (b'{"entities": {"accounts": {"records": 4, "rows": 4}}}', "line 1: /entities/accounts/rows is an unknown field"),
    ],
    ids=["unreadable", "unknown-field"],
)
def test_no_totals(sender: Sender, content: bytes, reason: str) -> None:
    sender.tenant = sender.tenant.translate(str.maketrans("[]", "--"))
    done = sender.deliver(content, files=FILES)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 8), done.stderr
    one = sender.status()
    assert (one.state, one.problem) == ("published", None)
    [manifest] = one.manifests
    assert manifest.failure is not None
    assert (manifest.state, manifest.failure["rule"]) == ("rejected", "invalid_manifest")
    assert reason in manifest.failure["message"]
    assert reason in done.stderr
    assert sender.reconcile().returncode == 0


def test_totals_that_are_required(sender: Sender, dataharvest: Command, tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text("manifest: required\n")
    applied = dataharvest("contract", "apply", str(tmp_path / "contract.yaml"), "--tenant", sender.tenant, "--yes")
    assert applied.returncode == 0, applied.stderr
    done = sender.deliver(files=FILES)
    assert (done.returncode, done.stdout, sender.status().waits_for) == (3, "", ["manifest"]), done.stderr
    assert sender.deliver(GOOD).returncode == 0
    assert sender.status().state == "published"


def test_a_set_that_nobody_knows(sender: Sender) -> None:
    unknown = sender.reconcile()
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert f"nothing of {sender.tenant} for {DATE} ever arrived" in unknown.stderr
