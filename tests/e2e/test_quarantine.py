"""One bad file from alarm to published, as an operator walks it on the real services."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.side_by_side import SlowReplay, at_once, under_way
from tests.kills.world import eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
FILES = {path.name: path.read_bytes() for path in sorted(EXAMPLES.iterdir())}
DATE, TRANSACTIONS = "2026-11-23", "transactions_20261123.csv"
PORTFOLIO = "a1b2c3d4-1111-4aaa-8bbb-0123456789ab"
BAD = (
    b"=1+1,23456789,t95,1.00,DEPOSIT\n"
    b"96,23456789,t96,2.00,\xff\xfe\n"
    b"97,23456789,t97,1E+5,DEPOSIT\n"
    b'98,23456789,t98,"4,25",DEPOSIT\n'
    b'99,23456789,t99,"8.00,DEPOSIT\n'
)
FORMULA, ENCODING, AMOUNT, COMMA, TAIL = range(8, 13)
"""Lines of these records."""
RULES = {FORMULA: "digits", ENCODING: "encoding", AMOUNT: "money", COMMA: "money", TAIL: "misaligned_tail"}


class Operator:
    """Whoever repairs what one tenant sent."""

    def __init__(self, tenant: str, folder: Path, command: Command) -> None:
        self.tenant = tenant
        self.folder = folder
        self.command = command

    def send(self, files: dict[str, bytes]) -> "subprocess.CompletedProcess[str]":
        """Harvest these files."""
        folder = self.folder / "in"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        done = self.command("harvest", str(folder), "--tenant", self.tenant)
        for path in folder.iterdir():
            path.unlink()
        return done

    def run(self, *arguments: str, code: int = 0) -> str:
        """What `dataharvest quarantine …` prints; an AssertionError when it exits otherwise."""
        done = self.command("quarantine", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def listed(self, *options: str) -> dict[int, dict[str, Any]]:
        """Entries by line."""
        report = json.loads(self.run("list", "--tenant", self.tenant, "--date", DATE, "--json", *options))
        return {one["line"]: one for one in report["entries"]}

    def status(self) -> dict[str, Any]:
        """Where the set stands."""
        answer = self.command("status", "--tenant", self.tenant, "--json")
        [found] = json.loads(answer.stdout)["sets"]
        assert isinstance(found, dict)
        return found

    def reconcile(self) -> int:
        """Exit code of the statement."""
        return self.command("reconcile", "--tenant", self.tenant, "--date", DATE).returncode

    def apply(self, contract: str) -> None:
        """Store a contract."""
        path = self.folder / "contract.yaml"
        path.write_text(contract)
        done = self.command("contract", "apply", str(path), "--tenant", self.tenant, "--yes")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", autouse=True)
def worker(running_workers: RunWorkers) -> Iterator[None]:
    with running_workers(1, DATAHARVEST_CORRECTION_SETTLE_S="0.5"):
        yield


@pytest.fixture
def operator(dataharvest: Command, tmp_path: Path) -> Operator:
    return Operator("quarantine-walk", tmp_path, dataharvest)


async def test_a_bad_file_from_alarm_to_published(operator: Operator, stack_environment: dict[str, str]) -> None:
    outside = Outside(stack_environment)
    done = await asyncio.to_thread(operator.send, {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + BAD})
    assert done.returncode == 3, done.stderr
    assert f"`dataharvest quarantine list --tenant {operator.tenant} --date {DATE}`" in done.stderr

    replay = SlowReplay(stack_environment, operator.tenant)
    entries = operator.listed()
    assert {line: one["rule"] for line, one in entries.items()} == RULES
    await asyncio.to_thread(_look, operator, entries)
    await under_way(outside, operator.tenant)
    await asyncio.to_thread(_repair, operator, entries, stack_environment)

    await outside.published([operator.tenant])
    read, persisted = 6 + 5, 6 + 4
    assert operator.status()["counts"] == _counts(read, persisted, accepted=1)
    assert operator.reconcile() == 0
    messages = (await outside.outbound(operator.tenant))[operator.tenant]
    [portfolio] = [one.value for one in messages if one.reference == PORTFOLIO]
    # In the file itself 1000.0001 in 2 transactions; 1, 100000, 4.25 and 8 were repaired.
    assert (portfolio["number_of_transactions"], portfolio["sum_of_deposits"]) == (6, "101013.2501")

    await _correct_while_replaying(operator, outside, entries)
    corrected = await _stored(outside, operator.tenant)
    messages = (await outside.outbound(operator.tenant))[operator.tenant]
    number = replay.interrupt()
    resumed = await asyncio.to_thread(operator.command, "replay", "--resume", number, "--rate", "1000")
    assert resumed.returncode == 0, resumed.stderr
    await outside.all_read("chunks")
    assert await _stored(outside, operator.tenant) == corrected
    assert (await outside.outbound(operator.tenant))[operator.tenant] == messages


async def _correct_while_replaying(operator: Operator, outside: Outside, entries: dict[int, dict[str, Any]]) -> None:
    """A corrected file comes while the old one is replayed: whoever repairs the old one meanwhile is told so."""
    operator.apply('decimal_mark: "."\n')
    assert operator.command("tenant", "pause", operator.tenant).returncode == 0
    await outside.put(f"{operator.tenant}/{TRANSACTIONS}", FILES[TRANSACTIONS])

    async def registered() -> bool:
        return [one["state"] for one in await outside.deliveries(operator.tenant)].count("registered") == 1

    await eventually(registered, what="the corrected file registered", within_s=60)
    number = str(entries[ENCODING]["quarantine_id"])
    refused = operator.run("accept", str(entries[COMMA]["quarantine_id"]), number, "--reason", "too late", code=1)
    assert "is being read (registered) and will replace delivery" in refused
    assert operator.command("tenant", "resume", operator.tenant).returncode == 0
    await outside.published([operator.tenant], version=2)
    assert "dropped repairs: delivery" in " ".join(operator.status()["warnings"])
    assert operator.run("history", "--tenant", operator.tenant).count(" drop by dataharvest ") == 5

    async def old_rows_are_gone() -> bool:
        return all(one["removed_at"] for one in await outside.deliveries(operator.tenant) if one["state"] == "superseded")

    await eventually(old_rows_are_gone, what="the rows of the old file removed", within_s=60)


def _look(operator: Operator, entries: dict[int, dict[str, Any]]) -> None:
    money, tail = (str(entries[line]["quarantine_id"]) for line in (AMOUNT, TAIL))
    shown = operator.run("show", money)
    assert "column amount" in shown
    assert ">       10  97,23456789,t97,1E+5,DEPOSIT" in shown
    assert r"         9  96,23456789,t96,2.00,\xff\xfe" in shown
    operator.run("show", tail, "--save", str(operator.folder / "tail.csv"))
    assert (operator.folder / "tail.csv").read_bytes() == b'99,23456789,t99,"8.00,DEPOSIT\n'


def _repair(operator: Operator, entries: dict[int, dict[str, Any]], environment: dict[str, str]) -> None:
    why = ("--reason", "the bank called", "--by", "anna")
    ids = {line: str(one["quarantine_id"]) for line, one in entries.items()}
    _fix_by_spreadsheet(operator, why)
    _two_at_once(ids[AMOUNT], operator, environment)
    (operator.folder / "fixed.csv").write_bytes(b"99,23456789,t99,8.00,DEPOSIT\n")
    operator.run("fix", ids[TAIL], "--record-file", str(operator.folder / "fixed.csv"), *why)
    operator.run("accept", ids[ENCODING], *why)
    assert set(operator.listed()) == {COMMA}
    operator.apply('decimal_mark: ","\n')
    _fix_while_replaying(ids[COMMA], operator, environment)


def _fix_by_spreadsheet(operator: Operator, why: tuple[str, ...]) -> None:
    text = operator.run("list", "--tenant", operator.tenant, "--csv")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["record"] for row in rows][:2] == ["'=1+1,23456789,t95,1.00,DEPOSIT", r"'96,23456789,t96,2.00,\xff\xfe"]
    rows[0]["record"] = "95,23456789,t95,1.00,DEPOSIT"
    edited = io.StringIO()
    writer = csv.DictWriter(edited, list(rows[0]), delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    path = operator.folder / "edited.csv"
    path.write_bytes(edited.getvalue().encode("utf-8-sig"))
    assert "1 fixed" in operator.run("fix", "--file", str(path), *why, "--plan")
    assert "1 fixed" in operator.run("fix", "--file", str(path), *why)
    assert "1 unchanged" in operator.run("fix", "--file", str(path), *why)


def _two_at_once(number: str, operator: Operator, environment: dict[str, str]) -> None:
    assert "Nothing was changed: entry" in operator.run("fix", number, "--record", "97,1,t97,1E+5,FEE", "--reason", "x", code=2)
    both = at_once(
        environment,
        *(
            ["quarantine", "fix", number, "--reason", "both", "--by", who, "--record", f"97,23456789,{key},100000,DEPOSIT"]
            for who, key in (("anna", "t97"), ("ben", "t-97"))
        ),
    )
    won, lost = sorted(both, key=lambda one: one.returncode)
    assert (won.returncode, lost.returncode) == (0, 1), won.stderr + lost.stderr
    assert "nothing was changed; `dataharvest quarantine history" in lost.stderr


def _fix_while_replaying(number: str, operator: Operator, environment: dict[str, str]) -> None:
    """Whichever comes first, the other says whose the record is; which of its ways it says so depends on the moment."""
    selection = ["--tenant", operator.tenant, "--date", DATE]
    fix = ["quarantine", "fix", number, "--record", "98,23456789,t98,4.25,DEPOSIT", "--reason", "both", "--by", "anna"]
    fixed, replayed = at_once(environment, fix, ["quarantine", "replay", *selection, "--by", "ben"])
    [first] = [one for one in (fixed, replayed) if "1 fixed" in one.stdout]
    other, who = (replayed, "anna") if first is fixed else (fixed, "ben")
    assert first.returncode == 0, first.stderr
    if other.returncode == 0:
        assert f"from line {COMMA}: unchanged: fixed by {who} at " in other.stdout
    else:
        assert f"Entry {number} (transactions, line {COMMA}) is fixed by {who} at " in other.stderr
        assert "nothing was changed" in other.stderr


def _counts(read: int, persisted: int, *, accepted: int) -> dict[str, int]:
    # 4 accounts, 3 clients and 5 portfolios.
    others = 4 + 3 + 5
    return {"read": read + others, "persisted": persisted + others, "quarantined": 0, "duplicate": 0, "accepted": accepted}


async def _stored(outside: Outside, tenant: str) -> list[Any]:
    """Chunks, quarantine and row counts, to be compared."""
    delivery = "(SELECT delivery_id FROM delivery WHERE tenant = $1)"
    statements = (
        f"SELECT * FROM chunk WHERE delivery_id IN {delivery} ORDER BY delivery_id, chunk_index",
        f"SELECT * FROM quarantine WHERE delivery_id IN {delivery} ORDER BY quarantine_id",
        f"SELECT * FROM row_transactions WHERE delivery_id IN {delivery} ORDER BY transaction_reference",
    )
    return [await outside.query(statement, tenant) for statement in statements]
