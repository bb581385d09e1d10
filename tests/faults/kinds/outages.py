"""Long outages, counted apart: a service is gone for long; memory stays flat, `status` says what is waited for, work goes on."""

import asyncio
from functools import partial

import psutil

from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial
from tests.programs import run_program

GROWTH_BYTES = 80 << 20
"""How much memory a worker may gain while a service is gone: what is on its way fills up, and no more."""
NAMES = {"postgres": "PostgreSQL", "kafka": "Kafka", "s3": "the object store"}
"""Of the services, as `status` calls them."""


async def outages(trial: Trial, count: int, scale: Scale) -> None:
    """Each service in turn is gone while a load is on its way."""
    for number in range(count):
        name = list(NAMES)[number % len(NAMES)]
        workers = await trial.staff(2)
        await trial.feed(scale.row_count)
        async with trial.fault("outage", f"{name} is gone for {scale.outage_s:g} s") as entry:
            entry.is_counted = False
            await trial.until_stored(0.05)
            before = {one.pid: _rss(one.pid) for one in workers}
            await trial.world.kill_service(name)
            await asyncio.sleep(scale.outage_s)
            answer = await asyncio.to_thread(partial(_status, trial))
            grown = max(_rss(pid) - rss for pid, rss in before.items())
            ended = sum(not one.is_alive for one in workers)
            await trial.world.start_service(name)
            entry.did = f"`status` said: {answer}; {ended} workers ended, the largest grew by {max(0, grown) >> 20} MiB"
            if ended or grown > GROWTH_BYTES or NAMES[name] not in answer:
                trial.world.witness.violations.other.add(f"{name} gone: {entry.did}")


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _status(trial: Trial) -> str:
    """The sentence of the load's last tenant that says why it is not further, or the one that says what is wrong."""
    done = run_program("status", "--tenant", trial.sets[-1].tenant, environment=trial.world.environment)
    if "Traceback" in done.stderr:
        trial.world.witness.violations.other.add(f"status ended with a traceback: {done.stderr[-300:]}")
    lines = [line.strip() for line in (done.stdout or done.stderr).splitlines() if line.strip()]
    return " / ".join(lines[:2])[:200]


OUTAGE = Kind("outage", "a service gone for long", times(1, 3, 3), outages)
