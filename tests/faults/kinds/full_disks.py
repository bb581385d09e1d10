"""F13: the disk under PostgreSQL, Kafka or the workers' tables is full for a while.

Where small disks are not possible the kind is left out, and the report says so.
"""

import asyncio
import os

from tests.faults.disks import FILLER, FOLDERS, MARK, fill
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial

FULL_S = 8.0


async def full_disks(trial: Trial, count: int, scale: Scale) -> None:
    """Fill one disk after the other under load, and make room again a little later."""
    if MARK not in os.environ:
        trial.notes.append("F13 left out: no mounts of our own here (needs root and unshare)")
        return
    for number in range(count):
        await trial.staff(2)
        await trial.feed(scale.row_count // max(1, count))
        name = list(FOLDERS)[number % len(FOLDERS)]
        folder = trial.world.stack.home.path / name
        async with trial.fault("F13", f"the disk under {name} is full for {FULL_S:g} s") as entry:
            await trial.until_stored(0.05)
            await asyncio.to_thread(fill, folder)
            await asyncio.sleep(FULL_S)
            (folder / FILLER).unlink()
            died = [one.name for one in trial.world.stack.services if one.identity is None]
            # What a supervisor does.
            await trial.site.heal()
            while len(trial.world.crew.alive) < 2:
                trial.start()
            entry.did = f"{', '.join(died) or 'nobody'} ended and was started again; the work went on"


F13 = Kind("F13", "a full disk", times(1, 1, 9), full_disks)
