"""Four files in, exactly the expected messages out: in any order, once more, over crashes and outages."""

import asyncio
import gc
import gzip
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import psutil
import pytest
import zstandard

from dataharvest.stack import Stack
from tests.conftest import RunWorkers, Worker
from tests.e2e.commits import CommitWitness
from tests.e2e.outside import Outside
from tests.e2e.sets import ENTITIES, FileSet, make_set, values_of
from tests.kills.ledger import Ledger, comparable
from tests.kills.world import eventually

RULES = {"relationship", "sum_of_deposits", "transactions", "tax", "outbound.clients", "outbound.portfolios"}
MIDDLE = {
    "DATAHARVEST_CHUNK_BYTES": "16384",
    "DATAHARVEST_SESSION_TIMEOUT_S": "6",
    "DATAHARVEST_LEASE_S": "4",
    "DATAHARVEST_SWEEP_INTERVAL_S": "86400",
    "DATAHARVEST_JUDGEMENT_SLICE_ROWS": "20000",
}
"""Some hundred chunks in a file of some megabytes, judged in slices, dead workers replaced quickly, and no sweep that helps."""
LARGE_BYTES, RSS_LIMIT_BYTES = 60_000_000, 300 << 20


@pytest.fixture(scope="module")
def outside(stack_environment: dict[str, str]) -> Iterator[Outside]:
    made = Outside(stack_environment)
    yield made
    made.s3.close()


@pytest.fixture(scope="class")
def pair(running_workers: RunWorkers) -> Iterator[list[Worker]]:
    with running_workers(2, **MIDDLE) as workers:
        yield workers


def same_again(files: FileSet) -> dict[str, bytes]:
    """The same contents: compressed, each in its own way, and one as another version of its own key."""
    packed = {f"{files.object_key(entity)}.gz": gzip.compress(files.file(entity)) for entity in ENTITIES if entity != "clients"}
    packed[f"{files.object_key('clients')}.zst"] = zstandard.compress(files.file("clients"))
    return {files.object_key("accounts"): files.file("accounts"), **packed}


async def assert_stored_once(outside: Outside, files: FileSet) -> None:
    """Every row of every file is in its table, and nothing else."""
    ledger = Ledger(outside.environment["DATAHARVEST_DATABASE_URL"])
    for delivery in await outside.deliveries(files.tenant):
        entity = delivery["entity"]
        expected = Counter(comparable(entity, tuple(cell.strip('"') for cell in row)) for row in files.rows[entity])
        assert await ledger.rows(entity, delivery["delivery_id"]) == expected
        assert (delivery["record_count"], delivery["persisted_count"]) == (len(files.rows[entity]),) * 2
    await ledger.close()


@pytest.mark.usefixtures("pair")
class TestTwoWorkers:
    async def test_four_files_give_their_messages_once_and_the_same_again_in_any_guise_gives_nothing(
        self, outside: Outside
    ) -> None:
        files = make_set("journey-once")
        await outside.put_set(files)
        await outside.published([files.tenant])
        [messages] = (await outside.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound
        assert await self.readiness(outside, files.tenant) == dict.fromkeys(RULES, 1)
        before = await outside.deliveries(files.tenant)

        events = [one.value for one in await outside.records("uploads") if one.value and b"journey-once/" in one.value]
        assert len(events) == len(ENTITIES)
        for event in events:
            await outside.send_event(event)
        await outside.events_handled()

        assert await outside.deliveries(files.tenant) == before
        assert await self.readiness(outside, files.tenant) == dict.fromkeys(RULES, 1)
        assert await outside.outbound(files.tenant) == {files.tenant: messages}

        for count, (key, body) in enumerate(same_again(files).items(), start=len(ENTITIES) + 1):
            # One after the other: of two that are read at the same time neither can be told to repeat the other.
            await outside.put(key, body)
            repeats = await self.ended(outside, files.tenant, count=count)
        first = {one["entity"]: one["delivery_id"] for one in before}
        for one in repeats[len(ENTITIES) :]:
            assert (one["state"], one["repeat_of"]) == ("repeat", first[one["entity"]]), one
        assert len({one["object_key"] for one in repeats}) == 2 * len(ENTITIES)
        assert [dict(one) for one in repeats[: len(ENTITIES)]] == [dict(one) for one in before]
        assert await self.readiness(outside, files.tenant) == dict.fromkeys(RULES, 1)
        assert await outside.outbound(files.tenant) == {files.tenant: messages}

    async def ended(self, outside: Outside, tenant: str, *, count: int) -> list[Any]:
        """Deliveries of the tenant, once so many have ended and the set has heard of it."""

        async def all_ended() -> bool:
            found = await outside.deliveries(tenant)
            return len(found) == count and all(one["state"] in ("complete", "repeat") and one["announced_at"] for one in found)

        await eventually(all_ended, what=f"{count} deliveries of {tenant} ended", within_s=60)
        return await outside.deliveries(tenant)

    async def readiness(self, outside: Outside, tenant: str) -> dict[str, int]:
        rows = await outside.query(
            "SELECT rule, count(*) FROM readiness JOIN set_version USING (set_version_id) WHERE tenant = $1 GROUP BY 1", tenant
        )
        return {row[0]: row[1] for row in rows}

    def test_a_worker_listens_on_no_port(self, pair: list[Worker]) -> None:
        for worker in pair:
            family = [psutil.Process(worker.process.pid), *psutil.Process(worker.process.pid).children(recursive=True)]
            states = [one.status for each in family for one in each.net_connections("inet")]
            assert psutil.CONN_ESTABLISHED in states
            assert psutil.CONN_LISTEN not in states

    async def test_every_order_of_arrival_gives_one_version_with_the_same_values(self, outside: Outside) -> None:
        orders = {f"order-{'-'.join(one[0] for one in order)}": order for order in permutations(ENTITIES)}
        sets = {tenant: make_set(tenant, transactions=20) for tenant in orders}
        assert len(sets) == 24

        for step in range(len(ENTITIES)):
            await asyncio.gather(*(outside.put_set(sets[name], entities=[orders[name][step]]) for name in sets))
            await outside.completed(sets, count=len(sets) * (step + 1))
        await outside.published(sets)

        sent = await outside.outbound(*sets)
        assert {tenant: values_of(sent[tenant], of=files) for tenant, files in sets.items()} == {
            tenant: files.outbound for tenant, files in sets.items()
        }
        assert await outside.one("SELECT max(version) FROM set_version WHERE tenant LIKE 'order-%'") == 1

    async def test_a_hundred_thousand_transactions_equal_the_oracle(self, outside: Outside) -> None:
        files = make_set("hundred-thousand", accounts=2500, clients=1500, portfolios=3000, transactions=100_000)

        await outside.put_set(files)
        await outside.published([files.tenant], within_s=120)

        [messages] = (await outside.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound
        [transactions] = [one for one in await outside.deliveries(files.tenant) if one["entity"] == "transactions"]
        key = f"{files.tenant}|{transactions['business_date']}|judge|transactions|{transactions['delivery_id']}".encode()
        steps = [one for one in await outside.records("work") if one.key == key]
        assert len(steps) > 100_000 // 20_000

    # While a broker comes back aiokafka asks one address again and again, and can forget a connection to it that was made.
    # Here it is the test's own client's; it is closed when it is collected, which is not left to the next test.
    @pytest.mark.filterwarnings("ignore:Unclosed AIOKafkaConnection:ResourceWarning")
    async def test_a_broker_that_is_killed_and_comes_back_changes_nothing(self, outside: Outside) -> None:
        files = make_set("broker-restart", transactions=150_000)
        kafka = Stack(Path(outside.environment["DATAHARVEST_HOME"])).service("kafka")
        async with watched(outside, files.tenant):
            await outside.put_set(files)
            await outside.until_in_the_middle(files.tenant, chunks=20)

            kafka.kill()
            await asyncio.to_thread(kafka.start)
            await outside.published([files.tenant], within_s=120)

        [messages] = (await outside.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound
        await assert_stored_once(outside, files)
        gc.collect()

    async def test_a_worker_killed_in_mid_file_loses_and_doubles_nothing(self, outside: Outside, pair: list[Worker]) -> None:
        files = make_set("killed-worker", transactions=100_000)
        async with watched(outside, files.tenant):
            await outside.put_set(files)
            await outside.until_in_the_middle(files.tenant, chunks=40)

            # The one that reads the file: its chunks, its lease and what it was storing are all in the air.
            reading = "SELECT lease_owner FROM delivery WHERE tenant = $1 AND state = 'splitting' AND entity = 'transactions'"
            owner = await outside.one(reading, files.tenant)
            [victim] = [one for one in pair if f"worker-{one.process.pid}-" in owner]
            victim.kill()
            await outside.published([files.tenant], within_s=120)

        [messages] = (await outside.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound
        await assert_stored_once(outside, files)


@asynccontextmanager
async def watched(outside: Outside, tenant: str) -> AsyncIterator[None]:
    """A block during which no commit falls or passes a chunk of the tenant that is not in the ledger."""
    witness = CommitWitness(outside, tenant=tenant)
    async with witness.watching():
        yield

        async def has_seen_all() -> bool:
            return bool(witness.verified_count >= await outside.one("SELECT count(*) FROM chunk WHERE tenant = $1", tenant))

        await eventually(has_seen_all, what="every chunk committed and looked at", within_s=60)
    assert witness.violations.all() == []


def large_file() -> tuple[bytes, int]:
    lines = [b"record_id,account_number,transaction_reference,amount,keyword\n"]
    lines += [b"%d,%08d,T%09d,%d.%02d,DEPOSIT\n" % (one, one % 5000, one, one, one % 100) for one in range(LARGE_BYTES // 45)]
    return b"".join(lines), len(lines) - 1


async def test_a_large_file_does_not_make_a_worker_large(outside: Outside, running_workers: RunWorkers) -> None:
    body, record_count = large_file()
    with running_workers(1, DATAHARVEST_SWEEP_INTERVAL_S="86400") as [worker]:
        process, peak = psutil.Process(worker.process.pid), 0
        await outside.put("large/transactions_20261123.csv", body)
        began = time.monotonic()

        async def stored() -> bool:
            nonlocal peak
            peak = max(peak, process.memory_info().rss)
            return {one["state"] for one in await outside.deliveries("large")} == {"complete"}

        await eventually(stored, what="the large file stored", within_s=120)

    print(f"{len(body) / 1e6:.0f} MB in {time.monotonic() - began:.1f} s, peak {peak / (1 << 20):.0f} MiB")
    assert [one["persisted_count"] for one in await outside.deliveries("large")] == [record_count]
    assert peak <= RSS_LIMIT_BYTES
