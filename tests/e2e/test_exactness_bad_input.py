"""Bad input around sets on the real services: a clear state and reason for each, nothing lost, other tenants untouched."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataharvest.adapters.s3 import s3_client
from dataharvest.status import SetStatus, StatusReport
from tests.conftest import Command, RunWorkers
from tests.e2e.test_bad_input import GOOD

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAY = "20240328"
WAIT_S = 90
PART_BYTES = 8 << 20


def long_content() -> bytes:
    """Longer than what is read at once: what comes after it is asked for again, from an object that is gone by then."""
    return GOOD["transactions"] + b"".join(b"%d,A1,T%d,1.00,DEPOSIT\n" % (number, number) for number in range(2, 2_000_000))


class Site:
    """A sender with its bucket, and the status that it looks at."""

    def __init__(self, environment: dict[str, str], command: Command) -> None:
        self.bucket = environment["DATAHARVEST_S3_BUCKET"]
        self._command = command
        self.client: S3Client = s3_client(
            endpoint_url=environment["DATAHARVEST_S3_ENDPOINT_URL"],
            access_key=environment["DATAHARVEST_S3_ACCESS_KEY"],
            secret_key=environment["DATAHARVEST_S3_SECRET_KEY"],
            region=environment["DATAHARVEST_S3_REGION"],
        )

    def put(self, key: str, content: bytes) -> str:
        """Put an object; its version."""
        return self.client.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]

    def put_good(self, tenant: str, *, without: str = "") -> None:
        """Put the good files of a tenant."""
        for entity, content in GOOD.items():
            if entity != without:
                self.put(f"{tenant}/{entity}_{DAY}.csv", content)

    def status(self, tenant: str) -> StatusReport:
        """Where the tenant stands."""
        return StatusReport.model_validate_json(self._command("status", "--json", "--tenant", tenant).stdout)

    def until(self, tenant: str, holds: Callable[[StatusReport], bool]) -> StatusReport:
        """The status once this holds."""
        deadline = time.monotonic() + WAIT_S
        while not holds(report := self.status(tenant)):
            assert time.monotonic() < deadline, report
            time.sleep(0.2)
        return report

    def published(self, tenant: str) -> SetStatus:
        """The set once it is published."""
        return self.until(tenant, lambda report: [one.state for one in report.sets] == ["published"]).sets[0]


@pytest.fixture(scope="module")
def site(stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command) -> Iterator[Site]:
    with running_workers(
        1, DATAHARVEST_CORRECTION_SETTLE_S="0.5", DATAHARVEST_CHUNKS_IN_FLIGHT="2", DATAHARVEST_CHUNK_BYTES="65536"
    ):
        yield Site(stack_environment, dataharvest)


@pytest.mark.parametrize(
    ("tenant", "manifest", "problem"),
    [
        ("manifest-unreadable", b'{"entities": ', "line 1, column 14: not JSON"),
        (
            "manifest-unknown",
            b'{"entities": {"accounts": {"records": 2, "rows": 2}}}',
            "/entities/accounts/rows is an unknown field",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why_and_stops_nothing(
    site: Site, tenant: str, manifest: bytes, problem: str
) -> None:
    site.put(f"{tenant}/manifest_{DAY}.json", manifest)
    site.put_good(tenant)

    [found] = site.published(tenant).manifests

    assert found.state == "rejected"
    assert found.failure
    assert found.failure["rule"] == "invalid_manifest"
    assert problem in found.failure["message"]


def test_an_invalid_contract_is_refused_with_every_mistake_and_changes_nothing(
    site: Site, dataharvest: Command, tmp_path: Path
) -> None:
    contract = tmp_path / "contract.yaml"
    contract.write_text("delimiter: ''\nrequired: [accounts, invoices]\nduplicate: first_wins\n")

    done = dataharvest("contract", "apply", str(contract), "--tenant", "contract-invalid", "--yes")
    site.put_good("contract-invalid")

    assert done.returncode == 1
    for line, word in ((1, "delimiter"), (2, "invoices"), (3, "duplicate")):
        assert any(f"contract.yaml:{line}" in said and word in said for said in done.stderr.splitlines()), done.stderr
    assert {one.contract_version for one in site.published("contract-invalid").deliveries} == {0}


def test_a_key_with_an_impossible_date_is_rejected_and_named(site: Site) -> None:
    key = "date-impossible/accounts_20240231.csv"
    site.put(key, GOOD["accounts"])
    site.put_good("date-impossible", without="accounts")

    report = site.until("date-impossible", lambda found: bool(found.deliveries_without_set) and len(found.deliveries) == 4)

    [bad] = report.deliveries_without_set
    assert (bad.file, bad.state) == (key, "rejected")
    assert bad.failure
    assert bad.failure["rule"] == "impossible_date"
    assert site.until("date-impossible", lambda found: found.sets[0].state == "incomplete").sets[0].waits_for == ["accounts"]
    site.put_good("date-impossible")
    site.published("date-impossible")


def test_of_two_files_at_the_same_time_the_newer_counts_and_the_other_is_kept_as_superseded(site: Site) -> None:
    tenant = "two-keys"
    keys = {
        f"{tenant}/{folder}/accounts_{DAY}.csv": GOOD["accounts"].replace(b"10.00", cash)
        for folder, cash in (("a", b"1"), ("b", b"2"))
    }
    site.put_good(tenant, without="accounts")

    async def put_both() -> None:
        await asyncio.gather(*(asyncio.to_thread(site.put, key, content) for key, content in keys.items()))

    asyncio.run(put_both())
    put_at = {key: site.client.head_object(Bucket=site.bucket, Key=key)["LastModified"] for key in keys}
    newest = max(keys, key=lambda key: (put_at[key], key))

    report = site.until(
        tenant,
        lambda found: (
            len(found.deliveries) == 5
            and found.sets[0].state == "published"
            and {one.file: one.state for one in found.deliveries}[newest] == "complete"
        ),
    )

    states = {one.file: one.state for one in report.deliveries}
    assert [states[key] for key in keys if key != newest] == ["superseded"]
    assert {one.state for one in report.deliveries if one.file not in keys} == {"complete"}


def test_a_file_deleted_while_it_is_split_waits_with_its_reason_and_holds_up_nobody_else(site: Site) -> None:
    tenant, key = "deleted-meanwhile", f"deleted-meanwhile/transactions_{DAY}.csv"
    content = long_content()
    assert len(content) > PART_BYTES
    site.put_good(tenant, without="transactions")
    version = site.put(key, content)
    site.until(tenant, lambda found: any(one.file == key and one.stored_chunk_count for one in found.deliveries))
    site.client.delete_object(Bucket=site.bucket, Key=key, VersionId=version)
    site.put_good("deleted-beside")

    report = site.until(tenant, lambda found: any(one.file == key and one.state == "waiting" for one in found.deliveries))

    [waiting] = [one for one in report.deliveries if one.file == key]
    assert waiting.failure
    assert waiting.failure["rule"] == "object_404"
    assert "transactions" in report.sets[0].waits_for
    site.published("deleted-beside")
    site.put(key, GOOD["transactions"])
    found = site.published(tenant)
    assert {one.state for one in found.deliveries if one.delivery_id == waiting.delivery_id} == {"superseded"}
    assert json.loads(found.model_dump_json())["counts"]["read"] == sum(content.count(b"\n") - 1 for content in GOOD.values())
