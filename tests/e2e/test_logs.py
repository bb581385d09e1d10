"""A full run, from uploads to messages with everything that can be wrong in between, leaves no personal data in any log."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command, RunWorkers, Worker
from tests.e2e.outside import Outside
from tests.kills.world import eventually

DAY = "20261123"
FIRST, LAST = "Zedekia", "Quastenflosser"
ACCOUNT, OTHER_ACCOUNT = "DE99PLANTED0001", "DE99PLANTED0002"
CLIENT, PORTFOLIO = "9e40659b-aaaa-4bbb-8ccc-91a47ed00001", "90751f3a-aaaa-4bbb-8ccc-91a47ed00002"
TRANSACTION, AMOUNT, AGENT = "TXPLANTED0003", "471108.1501", "AGENTPLANTED"
PLANTED = (FIRST, LAST, ACCOUNT, OTHER_ACCOUNT, CLIENT, PORTFOLIO, TRANSACTION, AMOUNT, AGENT)

FILES = {
    "accounts": f"record_id,account_number,cash_balance,currency,taxes_paid\n1,{ACCOUNT},{AMOUNT},EUR,1\n",
    "clients": f"record_id,first_name,last_name,client_reference,tax_free_allowance\n1,{FIRST},{LAST},{CLIENT},801\n",
    "portfolios": "record_id,account_number,portfolio_reference,client_reference,agent_code\n"
    f"1,{ACCOUNT},{PORTFOLIO},{CLIENT},{AGENT}\n",
    "transactions": "record_id,account_number,transaction_reference,amount,keyword\n"
    f"1,{ACCOUNT},{TRANSACTION},{AMOUNT},DEPOSIT\n",
}
MANIFEST = f'{{"entities": {{"accounts": {{"records": 7, "sums": {{"{LAST}": "{AMOUNT}"}}}}}}}}'
# By tenant: what is other than in a good set.
WRONG: dict[str, dict[str, str]] = {
    "planted-good": {},
    "planted-money": {"accounts": FILES["accounts"].replace(AMOUNT, LAST)},
    "planted-name": {"clients": FILES["clients"].replace(CLIENT, f"{FIRST} {LAST}")},
    "planted-quote": {"clients": FILES["clients"].replace(FIRST, f'{FIRST}"x')},
    "planted-open-quote": {"clients": FILES["clients"].replace(FIRST, f'"{FIRST}')},
    "planted-fields": {"accounts": FILES["accounts"] + f"2,{OTHER_ACCOUNT},{LAST},EUR,1,7,{FIRST}\n"},
    "planted-nul": {"clients": FILES["clients"].replace(FIRST, f"{FIRST}\0")},
    "planted-header": {"clients": f"{FIRST},{LAST},{CLIENT}\n"},
    "planted-column": {"clients": FILES["clients"].replace("allowance", f"allowance,{LAST}").replace("801", f"801,{FIRST}")},
    "planted-twice": {"accounts": FILES["accounts"] + f"2,{ACCOUNT},5,EUR,0\n"},
    "planted-orphan": {"transactions": FILES["transactions"] + f"2,{OTHER_ACCOUNT},T2,{AMOUNT},TAX\n"},
    "planted-manifest": {"manifest": MANIFEST},
    "planted-bad-manifest": {"manifest": f'{{"{LAST}": "{FIRST}"'},
}


@pytest.fixture(scope="module")
def worker(running_workers: RunWorkers) -> Iterator[Worker]:
    settings = {"LOG_FORMAT": "json", "SWEEP_INTERVAL_S": "2", "METRICS_PORT": "0", "TRACES_URL": "http://127.0.0.1:9/v1/traces"}
    with running_workers(1, **{f"DATAHARVEST_{name}": value for name, value in settings.items()}) as [worker]:
        yield worker


def forms(text: str) -> Iterator[bytes]:
    """How a text may stand in a log: as it is, in hexadecimal, in base64 at each of its three alignments."""
    data = text.encode()
    yield data
    yield data.hex().encode()
    for shift in range(3):
        # Without the characters that depend on what stands before and behind.
        yield base64.b64encode(bytes(shift) + data)[4 if shift else 0 : -4]


def finds(log: bytes) -> list[str]:
    """Planted texts in a log."""
    return [text for text in PLANTED for form in forms(text) if form in log]


async def send_everything(outside: Outside) -> None:
    for tenant, wrong in WRONG.items():
        for entity, text in {**FILES, **wrong}.items():
            ending = "json" if entity == "manifest" else "csv"
            await outside.put(f"{tenant}/{entity}_{DAY}.{ending}", text.encode())
    await outside.put(f"planted-binary/clients_{DAY}.csv.gz", f"{FIRST} {LAST}".encode())
    await outside.send_event(f'{{"Records": [{{"{LAST}": "{FIRST}"}}]}}'.encode())
    await outside.send_event(f"{FIRST} {LAST} {ACCOUNT}".encode())


async def until_settled(outside: Outside) -> None:
    async def nothing_moves() -> bool:
        rows = await outside.query("SELECT state FROM delivery WHERE tenant LIKE 'planted-%'")
        return len(rows) == 4 * len(WRONG) + 1 and {row["state"] for row in rows} <= {"complete", "rejected"}

    await eventually(nothing_moves, what="every planted file settled", within_s=60)
    await outside.published(["planted-good", "planted-column"])
    count = "SELECT count(*) FROM set_version WHERE tenant = 'planted-orphan' AND state = 'blocked'"

    async def is_blocked() -> bool:
        return bool(await outside.one(count))

    await eventually(is_blocked, what="the orphan blocks", within_s=60)


async def test_no_log_of_a_full_run_holds_personal_data(
    worker: Worker, dataharvest: Command, stack_environment: dict[str, str], tmp_path: Path
) -> None:
    outside = Outside(stack_environment)
    await send_everything(outside)
    await until_settled(outside)
    for entity, text in FILES.items():
        (tmp_path / f"{entity}_{DAY}.csv").write_text(text)
    harvest = dataharvest("harvest", str(tmp_path), "--tenant", "planted-harvest")
    swept = dataharvest("sweep", "--once", DATAHARVEST_LOG_FORMAT="json")

    assert harvest.returncode == 0, harvest.stderr
    assert harvest.stdout.count(CLIENT) == 1 + 1, "the planted data has gone all the way"
    assert finds(harvest.stderr.encode() + swept.stdout.encode() + swept.stderr.encode()) == []
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line.startswith("{")]
    said = {line["message"] for line in lines}
    assert {"delivery registered", "delivery rejected", "message dead-lettered", "set blocked", "set published"} <= said
    logs = sorted(Path(stack_environment["DATAHARVEST_HOME"], "logs").iterdir())
    assert len(logs) >= 4
    assert {path.name: finds(path.read_bytes()) for path in logs if finds(path.read_bytes())} == {}


def test_every_line_of_a_worker_is_one_event_with_constant_text_and_ids(worker: Worker) -> None:
    lines = worker.log_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]

    assert [line for line in lines if not line.startswith("{")] == []
    for event in events:
        assert {"at", "level", "logger", "message"} <= set(event)
        if event["message"].startswith("delivery "):
            assert "delivery_id" in event
        if event["message"].startswith("set "):
            assert "tenant" in event


def test_what_is_planted_would_be_found() -> None:
    hidden = base64.b64encode(f"...{LAST}...".encode())

    assert finds(hidden) == [LAST]
    assert finds(f'{{"value": "{FIRST}"}}'.encode()) == [FIRST]
    assert finds(ACCOUNT.encode().hex().encode()) == [ACCOUNT]
