"""Bad input on the real services: a clear place and reason for each, while everything else goes on."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dataharvest.adapters.s3 import S3ObjectStore, s3_client
from dataharvest.status import DeliveryStatus, SetStatus, StatusReport
from tests.conftest import Command, RunWorkers

DAY = "20240328"
GOOD = {
    "accounts": b"record_id,account_number,cash_balance,currency,taxes_paid\n1,A1,10.00,EUR,1\n2,A2,20.00,EUR,2\n",
    "clients": b"record_id,first_name,last_name,client_reference,tax_free_allowance\n"
    b"1,Frida,M\xc3\xbcller,9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f,801\n",
    "portfolios": b"record_id,account_number,portfolio_reference,client_reference,agent_code\n"
    b"1,A1,90751f3a-0c6e-4a3e-9a55-1d2e3f405162,9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f,X\n"
    b"2,A2,a1b2c3d4-1111-4aaa-8bbb-0123456789ab,9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f,X\n",
    "transactions": b"record_id,account_number,transaction_reference,amount,keyword\n1,A1,T1,5,DEPOSIT\n",
}
HEADER = GOOD["accounts"].partition(b"\n")[0] + b"\n"


@dataclass(frozen=True)
class BadFile:
    """A file that is refused, in place of the accounts of an otherwise good set."""

    name: str
    content: bytes
    rule: str
    column: str | None = None


REJECTED = {
    "pattern": BadFile("accounts.csv", GOOD["accounts"], "unknown_key_pattern"),
    "entity": BadFile(f"invoices_{DAY}.csv", GOOD["accounts"], "unknown_entity"),
    "missing": BadFile(f"accounts_{DAY}.csv", GOOD["accounts"].replace(b",currency", b""), "missing_column", "currency"),
    "repeated": BadFile(f"accounts_{DAY}.csv", HEADER.replace(b"currency", b"taxes_paid"), "repeated_column", "taxes_paid"),
    "empty": BadFile(f"accounts_{DAY}.csv", b"", "empty_file"),
    "binary": BadFile(f"accounts_{DAY}.csv", b"PK\x03\x04\x14\0\0\0accounts", "not_text"),
    "latin": BadFile(f"accounts_{DAY}.csv", b"W\xe4hrung," + GOOD["accounts"], "encoding"),
    "truncated": BadFile(f"accounts_{DAY}.csv.gz", gzip.compress(GOOD["accounts"])[:-9], "truncated_compression"),
}


@dataclass(frozen=True)
class BadRecord:
    """A record that is quarantined, as the second of three."""

    raw: bytes
    rule: str
    column: str | None = None


QUARANTINED = {
    "text": BadRecord(b"2,A2,twenty,EUR,2", "money", "cash_balance"),
    "nan": BadRecord(b"2,A2,NaN,EUR,2", "money", "cash_balance"),
    "exponent": BadRecord(b"2,A2,20,EUR,1E+5", "money", "taxes_paid"),
    "digits": BadRecord(b"2,A2,1.00005,EUR,2", "money", "cash_balance"),
    "value": BadRecord(b"2,,20,EUR,2", "missing_value", "account_number"),
    "quote": BadRecord(b'2,A"2,20,EUR,2', "stray_quote", "account_number"),
    "few": BadRecord(b"2,A2,20,EUR", "too_few_fields"),
    "many": BadRecord(b"2,A2,20,EUR,2,3", "too_many_fields"),
}
FIRST, LAST = b"1,A1,10.00,EUR,1\n", b"3,A3,30.00,EUR,3\n"


def files() -> Iterator[tuple[str, bytes]]:
    """Object keys and contents: each case is a tenant of its own."""
    for case, bad in REJECTED.items():
        yield f"rejected-{case}/{bad.name}", bad.content
        yield from _good(f"rejected-{case}", without="accounts")
    for case, record in QUARANTINED.items():
        yield f"quarantined-{case}/accounts_{DAY}.csv", HEADER + FIRST + record.raw + b"\n" + LAST
        yield from _good(f"quarantined-{case}", without="accounts")
    for entity, content in GOOD.items():
        yield f"header-only/{entity}_{DAY}.csv", content.partition(b"\n")[0]
    yield from _good("good")


def _good(tenant: str, *, without: str = "") -> Iterator[tuple[str, bytes]]:
    yield from ((f"{tenant}/{entity}_{DAY}.csv", content) for entity, content in GOOD.items() if entity != without)


@pytest.fixture(scope="module")
def report(stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command) -> Iterator[StatusReport]:
    """What ``status --json`` says once everything has settled."""
    with running_workers(1):
        asyncio.run(_put_all(stack_environment))
        yield _settled(dataharvest)


async def _put_all(environment: dict[str, str]) -> None:
    client = s3_client(
        endpoint_url=environment["DATAHARVEST_S3_ENDPOINT_URL"],
        access_key=environment["DATAHARVEST_S3_ACCESS_KEY"],
        secret_key=environment["DATAHARVEST_S3_SECRET_KEY"],
        region=environment["DATAHARVEST_S3_REGION"],
    )
    store = S3ObjectStore(client)
    await asyncio.gather(*(store.put("dataharvest", key, content) for key, content in files()))
    store.close()


def _settled(dataharvest: Command) -> StatusReport:
    keys = {key for key, _ in files()}
    tenants = {key.partition("/")[0] for key in keys}
    ended = {"complete", "rejected"}
    for _ in range(60):
        done = dataharvest("status", "--json")
        assert done.returncode == 0, done.stderr
        report = StatusReport.model_validate_json(done.stdout)
        mine = {one.file: one.state for one in report.deliveries if one.file in keys}
        still = ("blocked", "incomplete", "published")
        moving = [one for one in report.sets if one.tenant in tenants and one.state not in still]
        if mine.keys() == keys and set(mine.values()) <= ended and not moving:
            return report
    raise AssertionError(f"not settled: {mine}, {moving}")


def set_of(report: StatusReport, tenant: str) -> SetStatus:
    [found] = [one for one in report.sets if one.tenant == tenant]
    return found


def delivery_of(report: StatusReport, key: str) -> DeliveryStatus:
    [found] = [one for one in report.deliveries if one.file == key]
    return found


@pytest.mark.parametrize("case", REJECTED)
def test_a_file_that_cannot_be_read_is_rejected_with_place_rule_and_reason(report: StatusReport, case: str) -> None:
    bad = REJECTED[case]
    delivery = delivery_of(report, f"rejected-{case}/{bad.name}")

    assert delivery.state == "rejected"
    assert delivery.failure
    assert delivery.failure["rule"] == bad.rule
    assert delivery.failure["message"]
    assert delivery.failure.get("column") == bad.column
    assert delivery.counts.read == 0


@pytest.mark.parametrize("case", REJECTED)
def test_the_other_files_of_its_set_are_stored_and_the_set_says_what_it_waits_for(report: StatusReport, case: str) -> None:
    found = set_of(report, f"rejected-{case}")

    assert (found.state, found.waits_for) == ("incomplete", ["accounts"])
    assert {one.entity for one in found.deliveries if one.state == "complete"} == {"clients", "portfolios", "transactions"}


@pytest.mark.parametrize("case", QUARANTINED)
async def test_a_bad_record_is_kept_with_its_place_and_bytes_and_blocks_its_set(
    report: StatusReport, case: str, stack_environment: dict[str, str]
) -> None:
    record = QUARANTINED[case]
    found = set_of(report, f"quarantined-{case}")
    delivery = delivery_of(report, f"quarantined-{case}/accounts_{DAY}.csv")
    [shown] = delivery.quarantined

    assert (shown.line, shown.byte_offset) == (3, len(HEADER + FIRST))
    assert (shown.rule, shown.column) == (record.rule, record.column)
    assert await _raw(stack_environment, delivery.delivery_id) == [record.raw]
    assert found.state == "blocked"
    assert found.reason == "1 record of accounts is in quarantine."
    counts = delivery.counts
    assert (counts.read, counts.persisted, counts.quarantined) == (3, 2, 1)
    assert counts.read == counts.persisted + counts.quarantined + counts.duplicate + counts.accepted


async def _raw(environment: dict[str, str], delivery_id: int) -> list[bytes]:
    connection = await asyncpg.connect(environment["DATAHARVEST_DATABASE_URL"])
    try:
        rows: list[Any] = await connection.fetch("SELECT raw FROM quarantine WHERE delivery_id = $1", delivery_id)
    finally:
        await connection.close()
    return [row["raw"] for row in rows]


def test_files_with_nothing_but_a_header_are_complete_deliveries_of_no_records(report: StatusReport) -> None:
    found = set_of(report, "header-only")

    assert {(one.entity, one.state, one.counts.read) for one in found.deliveries} == {(entity, "complete", 0) for entity in GOOD}
    assert (found.state, found.version) == ("published", 1)


def test_a_good_set_among_them_is_published(report: StatusReport) -> None:
    assert set_of(report, "good").state == "published"


@pytest.mark.usefixtures("report")
def test_a_person_reads_the_same_as_a_program(dataharvest: Command) -> None:
    done = dataharvest("status", "--tenant", "quarantined-nan", "--date", "2024-03-28")

    assert done.returncode == 0
    assert "quarantined-nan 2024-03-28: blocked" in done.stdout
    assert f"line 3, byte {len(HEADER + FIRST)}, column cash_balance, rule money: " in done.stdout
    assert "rejected-" not in done.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEADER + FIRST + QUARANTINED["nan"].raw + b"\n", "line 3, column cash_balance, rule money: "),
        (REJECTED["missing"].content, "line 1, column currency, rejected, rule missing_column: "),
    ],
    ids=["cell", "column"],
)
@pytest.mark.usefixtures("report")
def test_harvest_exits_with_3_and_says_why(dataharvest: Command, tmp_path: Path, content: bytes, reason: str) -> None:
    tenant = f"harvested-{len(content)}"
    for key, good in _good(tenant):
        (tmp_path / key.partition("/")[2]).write_bytes(good)
    (tmp_path / f"accounts_{DAY}.csv").write_bytes(content)

    done = dataharvest("harvest", str(tmp_path), "--tenant", tenant)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"accounts, {tenant}/accounts_{DAY}.csv, {reason}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("report")
def test_the_shape_of_the_json_is_the_documented_one(dataharvest: Command) -> None:
    shown = json.loads(dataharvest("status", "--json", "--tenant", "good").stdout)

    assert set(shown) == set(StatusReport.model_fields)
    assert set(shown["sets"][0]) == set(SetStatus.model_fields)
    assert set(shown["sets"][0]["deliveries"][0]) == set(DeliveryStatus.model_fields)
