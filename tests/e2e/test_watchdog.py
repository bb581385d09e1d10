"""A worker with a planted hang ends itself with 75, says why in one line, and whoever is started next goes on."""

import asyncio
import json
from pathlib import Path

import pytest

from dataharvest.failpoints import VARIABLE
from dataharvest.watchdog import EXIT_STUCK
from tests.conftest import RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.faults.bugs import planted
from tests.programs import Program, start_program

WAIT_S = 60
QUICK = {"DATAHARVEST_WATCHDOG_S": "6", "DATAHARVEST_SESSION_TIMEOUT_S": "8", "DATAHARVEST_LOG_FORMAT": "json"}
HANGS = {
    "the event loop is blocked": {VARIABLE: "register.received=hang@1"},
    "a message has been in hand for too long": planted("never return"),
}


@pytest.mark.parametrize("reason", HANGS)
async def test_a_worker_that_hangs_ends_itself_and_another_goes_on(
    reason: str, stack_environment: dict[str, str], running_workers: RunWorkers
) -> None:
    outside, files = Outside(stack_environment), make_set(f"hang-{len(reason)}")

    with running_workers(1, **QUICK, **HANGS[reason]) as [worker]:
        await outside.put_set(files)
        code = await asyncio.to_thread(worker.process.wait, WAIT_S)
        lines = [json.loads(line) for line in worker.log_text().splitlines() if line.startswith("{")]
    with running_workers(1, **QUICK):
        await outside.published([files.tenant])
    outside.s3.close()

    # Its log is gone with the stack when this fails.
    print(*lines, sep="\n")
    assert code == EXIT_STUCK
    [said] = [line for line in lines if line["level"] == "CRITICAL"]
    assert (said["message"], said["reason"]) == ("worker is stuck and ends itself", reason)
    assert ".py:" in said["at_line"]
    assert any(".py:" in place for place in said["tasks_at"])


async def test_a_splitter_of_its_own_that_hangs_ends_itself_and_another_goes_on(
    stack_environment: dict[str, str], running_workers: RunWorkers, tmp_path: Path
) -> None:
    outside, files = Outside(stack_environment), make_set("hang-split")

    with running_workers(1, DATAHARVEST_SPLIT_IN_WORKER="false"):
        hanging = _splitter(stack_environment, tmp_path / "hanging.log", **{VARIABLE: "split.chunk_sent=hang@1"})
        await outside.put_set(files)
        code = await asyncio.to_thread(hanging.wait, WAIT_S)
        healthy = _splitter(stack_environment, tmp_path / "healthy.log")
        try:
            await outside.published([files.tenant])
        finally:
            healthy.terminate()
            ended = await asyncio.to_thread(healthy.wait, WAIT_S)
    outside.s3.close()

    lines = [json.loads(line) for line in (tmp_path / "hanging.log").read_text("utf-8").splitlines() if line.startswith("{")]
    assert (code, ended) == (EXIT_STUCK, 0)
    assert [line["reason"] for line in lines if line["level"] == "CRITICAL"] == ["the event loop is blocked"]


def _splitter(environment: dict[str, str], log: Path, **variables: str) -> Program:
    quick = {**QUICK, "DATAHARVEST_LEASE_S": "6"}
    return start_program("split", environment={**environment, **quick, **variables}, output=log)
