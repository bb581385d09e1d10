"""F1 to F3: workers that die at a named place, at any time, or freeze with a transaction open."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil

from dataharvest.failpoints import ARMED_BY, FAILPOINTS, VARIABLE
from tests.faults.journal import Fault
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.load import FEW_COPIES
from tests.faults.trial import Trial
from tests.kills.workers import Worker
from tests.kills.world import NotInTime, eventually

HIT_S = 60.0
SWEEPING = {"DATAHARVEST_SWEEP_INTERVAL_S": "5"}
"""What a frozen worker holds is found by those who wait for it in vain, or by the sweep."""
_MOST = {"register": 8, "split.chunk_sent": 20, "persist": 25, "fold.table_changed": 25, "judge.removed": 1}
"""At which time a place kills, at most; the others are reached a few times per load."""
_ROWS = 1_200
"""Records of the load that a worker meets which is killed at a named place."""
_COPIES = {"judge.removed": 800, "judge.step_taken": 800}
"""Where a file has to be judged in steps, and its copies to be removed in some."""
_SMALLEST_SLICES = {"DATAHARVEST_JUDGEMENT_SLICE_ROWS": "10000"}
"""A file with hundreds of copies is judged in steps."""
_NEEDED = {
    "judge.begun": {"DATAHARVEST_CHUNK_BYTES": "65536"},
    "judge.removed": _SMALLEST_SLICES,
    "judge.step_taken": _SMALLEST_SLICES,
}
"""Settings without which nobody comes to a place: a file that is judged at once is one chunk."""
_BUSY_SHARE = 5
"""A load that is uploaded in the middle of a kind is this part of a whole one."""
_LOADS_TO_FREEZE = 3
_FROZEN_AT_ONCE = 5


async def at_failpoints(trial: Trial, count: int, scale: Scale) -> None:
    """Each named place in turn, in the order of the journey, kills the only worker; its successor goes on, and is the next."""
    names = list(FAILPOINTS)
    chosen = [names[index % len(names)] for index in range(count)]
    if count < len(names):
        chosen = sorted(trial.chance.sample(names, count), key=names.index)
    plans = [(name, trial.chance.randint(1, _most(name))) for name in chosen]
    settings = [_armed_later(trial, number, name, turn) for number, (name, turn) in enumerate(plans)]
    for number, (name, turn) in enumerate(plans):
        [victim] = await trial.staff(1, **settings[number])
        async with trial.fault("F1", f"SIGKILL at {name}, time {turn}: {FAILPOINTS[name]}") as entry:
            Path(settings[number][ARMED_BY]).touch()
            await trial.feed(_ROWS, copy_count=_COPIES.get(name, FEW_COPIES))
            entry.has_happened = await victim.ended(within_s=HIT_S) == -signal.SIGKILL
            entry.did = "" if entry.has_happened else "never came there"
            await trial.staff(1, **(settings[number + 1] if number + 1 < count else {}))


def _most(name: str) -> int:
    return _MOST.get(name, _MOST.get(name.partition(".")[0], 2))


def _armed_later(trial: Trial, number: int, name: str, turn: int) -> dict[str, str]:
    """Settings of a worker that is to die at a place, and not before the file is there."""
    armed_by = trial.world.stack.home.path / f"armed-{trial.name}-{number}"
    return {**_NEEDED.get(name, {}), VARIABLE: f"{name}=kill@{turn}", ARMED_BY: str(armed_by)}


async def at_random(trial: Trial, count: int, scale: Scale) -> None:
    """Random working workers of three are killed at random times."""
    for number in range(count):
        if number % 30 == 0:
            await trial.feed(scale.row_count)
        await trial.staff(3)
        async with trial.fault("F2", "SIGKILL of one of three workers") as entry:
            await trial.pause(1.5)
            victim = await _settled_worker(trial)
            await trial.keep_busy(scale.row_count // _BUSY_SHARE)
            entry.has_happened = victim.kill()
            trial.start()


async def _settled_worker(trial: Trial) -> Worker:
    def settled() -> list[Worker]:
        return [one for one in trial.world.crew.alive if one.listens]

    async def any_settled() -> bool:
        return bool(settled())

    await eventually(any_settled, what="a worker at work", within_s=HIT_S)
    return trial.chance.choice(settled())


async def frozen(trial: Trial, count: int, scale: Scale) -> None:
    """Up to five workers freeze, each with a chunk copied and its transaction open; another is done before they wake up."""
    waves = -(-count // _FROZEN_AT_ONCE)
    for wave in range(waves):
        await trial.staff(1, **SWEEPING)
        size = min(_FROZEN_AT_ONCE, count - wave * _FROZEN_AT_ONCE)
        zombies = [trial.start(**{VARIABLE: f"persist.copied=stop@{trial.chance.randint(1, 4)}"}) for _ in range(size)]
        await trial.all_joined()
        async with AsyncExitStack() as faults:
            what = f"SIGSTOP for {scale.frozen_s:g} s, a chunk copied and not committed"
            entries = [await faults.enter_async_context(trial.fault("F3", what)) for _ in zombies]
            await _feed_until_frozen(trial, zombies, row_count=scale.row_count // waves)
            await _stay_frozen(trial, zombies, entries, frozen_s=scale.frozen_s)


async def _feed_until_frozen(trial: Trial, zombies: Sequence[Worker], *, row_count: int) -> None:
    """Which partitions a worker has is chance: one load may have too few chunks in them for one that freezes at its fourth."""
    for _ in range(_LOADS_TO_FREEZE):
        await trial.feed(row_count)
        if all(await asyncio.gather(*map(_freezes, zombies))):
            return


async def _freezes(zombie: Worker) -> bool:
    try:
        await eventually(partial(_is_frozen, zombie), what="a frozen worker", within_s=HIT_S / _LOADS_TO_FREEZE)
    except NotInTime:
        return False
    return True


async def _stay_frozen(trial: Trial, zombies: Sequence[Worker], entries: Sequence[Fault], *, frozen_s: float) -> None:
    try:
        await asyncio.gather(*(_until_frozen(*pair) for pair in zip(zombies, entries, strict=True)))
        since = time.monotonic()
        await _finish_without(trial, [one for one in entries if one.has_happened], since=since)
        await asyncio.sleep(max(0.0, since + frozen_s - time.monotonic()))
    finally:
        for one in zombies:
            if await _is_frozen(one):
                psutil.Process(one.pid).resume()


async def _until_frozen(zombie: Worker, entry: Fault) -> None:
    if not await _freezes(zombie):
        entry.has_happened, entry.did = False, "the worker did not freeze in time"


async def _finish_without(trial: Trial, entries: Sequence[Fault], *, since: float) -> None:
    try:
        await eventually(trial.pulse.at_rest, what="everything published without the frozen workers", within_s=120)
    except NotInTime as late:
        trial.world.witness.violations.unready.add(f"F3: {late}")
        did, recovery_s = "the others waited for it", None
    else:
        did, recovery_s = "the others finished without it", time.monotonic() - since
    for entry in entries:
        entry.did, entry.recovery_s = did, recovery_s


async def _is_frozen(worker: Worker) -> bool:
    return worker.is_alive and psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED


F1 = Kind("F1", "killed at each named place", times(1, 30, 150), at_failpoints)
F2 = Kind("F2", "killed at random, three workers", times(1, 30, 300), at_random)
F3 = Kind("F3", "frozen with a transaction open", times(1, 5, 50), frozen)
