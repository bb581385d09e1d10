"""F1 to F3: workers that die at a named place, at any time, or freeze with a transaction open."""

import asyncio
import signal
import time
from functools import partial

import psutil

from dataharvest.failpoints import FAILPOINTS, VARIABLE
from tests.faults.journal import Fault
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial
from tests.kills.workers import Worker
from tests.kills.world import NotInTime, eventually

HIT_S = 60.0
JOIN_S = 6.0
SWEEPING = {"DATAHARVEST_SWEEP_INTERVAL_S": "5"}
"""What a frozen worker holds is found by those who wait for it in vain, or by the sweep."""
_MOST = {"register": 8, "split.chunk_sent": 20, "persist": 25, "fold.table_changed": 25}
"""At which time a place kills, at most; the others are reached a few times per load."""
_LATE = {"fold", "transform", "publish"}
_LATE_ROWS = 1_200
_BUSY_SHARE = 5
"""A load that is uploaded in the middle of a kind is this part of a whole one."""


async def at_failpoints(trial: Trial, count: int, scale: Scale) -> None:
    """Each named place in turn, in the order of the journey, kills the only worker; then another goes on."""
    names = list(FAILPOINTS)
    chosen = [names[index % len(names)] for index in range(count)]
    if count < len(names):
        chosen = sorted(trial.chance.sample(names, count), key=names.index)
    for start in range(0, count, len(names)):
        await trial.staff(0)
        await trial.feed(max(1_500, scale.row_count * min(count, len(names)) // max(count, len(names))))
        for name in chosen[start : start + len(names)]:
            await _kill_at(trial, name)


async def _kill_at(trial: Trial, name: str) -> None:
    # The end of the journey comes once per set: what is under way may have passed it already.
    if name.partition(".")[0] in _LATE:
        await trial.staff(0)
        await trial.feed(_LATE_ROWS)
    await trial.keep_busy(_LATE_ROWS)
    most = _MOST.get(name, _MOST.get(name.partition(".")[0], 2))
    turn = trial.chance.randint(1, most)
    async with trial.fault("F1", f"SIGKILL at {name}, time {turn}: {FAILPOINTS[name]}") as entry:
        [victim] = await trial.staff(1, **{VARIABLE: f"{name}=kill@{turn}"})
        entry.has_happened = await victim.ended(within_s=HIT_S) == -signal.SIGKILL
        if not entry.has_happened:
            entry.did = "never came there"
        await trial.staff(1)


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
        return [one for one in trial.world.crew.alive if time.monotonic() - one.started_at > 5]

    async def any_settled() -> bool:
        return bool(settled())

    await eventually(any_settled, what="a worker at work", within_s=HIT_S)
    return trial.chance.choice(settled())


async def frozen(trial: Trial, count: int, scale: Scale) -> None:
    """A worker freezes with a chunk copied and its transaction open; the others must be done before it wakes up."""
    for _ in range(count):
        await trial.staff(1, **SWEEPING)
        turn = trial.chance.randint(1, 4)
        zombie = trial.start(**{VARIABLE: f"persist.copied=stop@{turn}"})
        await asyncio.sleep(JOIN_S)
        async with trial.fault("F3", f"SIGSTOP for {scale.frozen_s:g} s, a chunk copied and not committed") as entry:
            await trial.feed(scale.row_count // max(1, count))
            await eventually(partial(_is_frozen, zombie), what="a frozen worker", within_s=HIT_S)
            since = time.monotonic()
            try:
                await _finish_without(trial, entry, since=since)
                await asyncio.sleep(max(0.0, since + scale.frozen_s - time.monotonic()))
            finally:
                psutil.Process(zombie.pid).resume()


async def _finish_without(trial: Trial, entry: Fault, *, since: float) -> None:
    try:
        await eventually(trial.pulse.at_rest, what="everything published without the frozen worker", within_s=120)
    except NotInTime as late:
        trial.world.witness.violations.unready.add(f"F3: {late}")
        entry.did = "the others waited for it"
    else:
        entry.recovery_s = time.monotonic() - since
        entry.did = "the others finished without it"


async def _is_frozen(worker: Worker) -> bool:
    return worker.is_alive and psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED


F1 = Kind("F1", "killed at each named place", times(1, 30, 150), at_failpoints)
F2 = Kind("F2", "killed at random, three workers", times(1, 30, 300), at_random)
F3 = Kind("F3", "frozen with a transaction open", times(1, 5, 50), frozen)
