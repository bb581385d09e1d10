"""F13: the disk under PostgreSQL, Kafka or the workers' tables is full for a while.

Where small disks are not possible the kind is left out, and the report says so.
"""

import asyncio
import os
import time

from tests.faults.disks import FILLER, FOLDERS, MARK, fill
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial
from tests.kills.workers import Worker

FULL_S = 8.0
WORKERS = 2
DISK_TROUBLE = 74
"""What a worker says whose table can't be written: it has to be started again."""


async def full_disks(trial: Trial, count: int, scale: Scale) -> None:
    """Fill one disk after the other under load, and make room again a little later."""
    if MARK not in os.environ:
        trial.notes.append("F13 left out: no mounts of our own here (needs root and unshare)")
        return
    for number in range(count):
        await trial.staff(WORKERS)
        await trial.feed(scale.row_count // max(1, count))
        name = list(FOLDERS)[number % len(FOLDERS)]
        folder = trial.world.stack.home.path / name
        async with trial.fault("F13", f"the disk under {name} is full for {FULL_S:g} s") as entry:
            await trial.until_stored(0.05)
            await asyncio.to_thread(fill, folder)
            gave_up = await _stay_full(trial)
            (folder / FILLER).unlink()
            died = [one.name for one in trial.world.stack.services if one.identity is None]
            await trial.site.heal()
            _supervise(trial)
            ended = [*died, *(f"{one.log.stem} ({one.exit_code})" for one in gave_up)]
            entry.did = f"{', '.join(ended) or 'nobody'} ended and was started again; the work went on"


async def _stay_full(trial: Trial) -> list[Worker]:
    """Wait with workers that are started again whenever one ends; those whose own disk was full."""
    ends_at = time.monotonic() + FULL_S
    while time.monotonic() < ends_at:
        await asyncio.sleep(0.5)
        _supervise(trial)
    gave_up = [one for one in trial.world.crew.members if one.exit_code == DISK_TROUBLE]
    for one in gave_up:
        trial.world.crew.forgive(one)
    return gave_up


def _supervise(trial: Trial) -> None:
    while len(trial.world.crew.alive) < WORKERS:
        trial.start()


F13 = Kind("F13", "a full disk", times(1, 3, 9), full_disks)
