"""A worker with a planted hang ends itself with 75, says why in one line, and whoever is started next goes on."""

import asyncio
import json

import pytest

from dataharvest.failpoints import VARIABLE
from dataharvest.watchdog import EXIT_STUCK
from tests.conftest import RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.faults.bugs import planted

WAIT_S = 60
QUICK = {"DATAHARVEST_WATCHDOG_S": "4", "DATAHARVEST_SESSION_TIMEOUT_S": "6", "DATAHARVEST_LOG_FORMAT": "json"}
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

    assert code == EXIT_STUCK
    [said] = [line for line in lines if line["level"] == "CRITICAL"]
    assert (said["message"], said["reason"]) == ("worker is stuck and ends itself", reason)
    assert ".py:" in said["at_line"]
