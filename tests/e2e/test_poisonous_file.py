"""A file whose reading ends its splitter: rejected after the third, with a good file beside it that is not blamed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataharvest.status import StatusReport
from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import ENTITIES, make_set
from tests.kills.workers import Worker

POISON = b"1,A1,POISON,1.00,DEPOSIT\n"
# What a parser's panic or the system's out-of-memory killer does: no exception, no farewell.
DEADLY = """
import os, signal
from dataharvest.rules import splitting

feed = splitting.RecordSplitter.feed

def deadly(self, data):
    if b"POISON" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    return feed(self, data)

splitting.RecordSplitter.feed = deadly
"""
LEASE_S = 1
MOST_DEATHS = 5


@pytest.fixture
def outside(stack_environment: dict[str, str]) -> Iterator[Outside]:
    made = Outside(stack_environment)
    yield made
    made.s3.close()


async def deaths_until_it_lives(outside: Outside, folder: Path, tenants: tuple[str, ...]) -> int:
    """How many splitters die, one after the other, before one lives until every file of the tenants has ended."""
    environment = {**outside.environment, "PYTHONPATH": str(folder), "DATAHARVEST_LEASE_S": str(LEASE_S)}
    for deaths in range(MOST_DEATHS):
        splitter = Worker(environment=environment, log=folder / "split.log", words=("split",))
        while splitter.is_alive:
            states = [one["state"] for one in await outside.deliveries(*tenants)]
            if states and set(states) <= {"complete", "rejected"}:
                splitter.ask_to_end()
                assert await splitter.ended(within_s=20) == 0
                return deaths
            await asyncio.sleep(0.1)
        assert splitter.exit_code == -9, splitter.log.read_text()[-2000:]
    raise AssertionError(f"{MOST_DEATHS} splitters died")


async def test_a_file_that_ends_its_splitter_is_rejected_after_the_third_and_the_others_go_on(
    stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command, outside: Outside, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    bad, good = make_set("poisonous"), make_set("beside-poison")
    with running_workers(1, DATAHARVEST_SPLIT_IN_WORKER="false", DATAHARVEST_SWEEP_INTERVAL_S="86400"):
        await outside.put(bad.object_key("transactions"), bad.file("transactions") + POISON)
        await outside.put_set(bad, entities=[one for one in ENTITIES if one != "transactions"])
        await outside.put_set(good)
        await outside.events_handled()

        assert await deaths_until_it_lives(outside, tmp_path, (bad.tenant, good.tenant)) == 3
        await outside.published([good.tenant])

    report = StatusReport.model_validate_json(dataharvest("status", "--json", "--tenant", bad.tenant).stdout)
    states = {one.entity: one.state for one in report.deliveries}
    assert states == {**dict.fromkeys(ENTITIES, "complete"), "transactions": "rejected"}
    [rejected] = [one for one in report.deliveries if one.state == "rejected"]
    assert rejected.failure
    assert rejected.failure["rule"] == "crashed_worker"
    assert (report.sets[0].state, report.sets[0].reason) == ("incomplete", "transactions was rejected.")
