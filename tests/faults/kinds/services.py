"""F4 and F5: the broker and the database end, with and without a warning, also in the middle of a COPY."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dataharvest.failpoints import VARIABLE
from dataharvest.stack import processes
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial
from tests.kills.ledger import GONE
from tests.kills.world import eventually

COPY_S = 30.0
_COPYING = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%' AND wait_event = 'ClientRead'"

Strike = Callable[[Trial, Scale], Awaitable[None]]


async def broker(trial: Trial, count: int, scale: Scale) -> None:
    """The broker is restarted, killed, gone for a while."""
    strikes: dict[str, Strike] = {"restarted": _restart, "killed": _kill, f"gone for {scale.outage_s:g} s": _be_gone}
    for number in range(count):
        await trial.staff(2)
        await trial.feed(scale.row_count // max(1, count))
        await trial.until_stored(0.1)
        what = list(strikes)[number % len(strikes)]
        async with trial.fault("F4", f"the broker is {what}"):
            await strikes[what](trial, scale)


async def _restart(trial: Trial, scale: Scale) -> None:
    await asyncio.to_thread(trial.world.stack.service("kafka").stop)
    await trial.world.start_service("kafka")


async def _kill(trial: Trial, scale: Scale) -> None:
    await trial.world.kill_service("kafka")
    await trial.world.start_service("kafka")


async def _be_gone(trial: Trial, scale: Scale) -> None:
    await trial.world.kill_service("kafka")
    await asyncio.sleep(scale.outage_s)
    await trial.world.start_service("kafka")


async def database(trial: Trial, count: int, scale: Scale) -> None:
    """A session or the whole server ends while a chunk is being copied."""
    strikes: dict[str, Strike] = {
        "a backend is killed": _kill_backend,
        "a backend is terminated": _terminate_backend,
        "the server is stopped at once": _stop_at_once,
        f"the server is gone for {scale.outage_s / 2:g} s": _be_gone_half,
    }
    slow = {VARIABLE: "persist.mid_copy=sleep:0.6%10"}
    for number in range(count):
        await trial.staff(2, **slow)
        if number % 4 == 0:
            await trial.feed(scale.row_count // max(1, count // 4))
        what = list(strikes)[number % len(strikes)]
        async with trial.fault("F5", f"{what} during a COPY"):
            await strikes[what](trial, scale)


async def _copying(trial: Trial) -> int:
    """Process id of a session in the middle of a COPY."""
    found: list[int] = []

    async def somebody_copies() -> bool:
        with suppress(*GONE):
            found[:] = [row["pid"] for row in await trial.world.witness.ledger.fetch(_COPYING)]
        return bool(found)

    await eventually(somebody_copies, what="a COPY", within_s=COPY_S)
    return trial.chance.choice(found)


async def _kill_backend(trial: Trial, scale: Scale) -> None:
    os.kill(await _copying(trial), signal.SIGKILL)


async def _terminate_backend(trial: Trial, scale: Scale) -> None:
    await trial.world.witness.ledger.fetch("SELECT pg_terminate_backend($1)", await _copying(trial))


async def _stop_at_once(trial: Trial, scale: Scale) -> None:
    await _copying(trial)
    identity = trial.world.stack.service("postgres").identity
    assert identity is not None
    processes.signal_if_alive(identity, signal.SIGQUIT)
    await asyncio.to_thread(lambda: processes.wait_until_gone(identity, timeout_s=30))
    await trial.world.start_service("postgres")


async def _be_gone_half(trial: Trial, scale: Scale) -> None:
    await _copying(trial)
    await trial.world.kill_service("postgres")
    await asyncio.sleep(scale.outage_s / 2)
    await trial.world.start_service("postgres")


F4 = Kind("F4", "the broker restarted, killed, gone", times(1, 4, 30), broker)
F5 = Kind("F5", "PostgreSQL killed, terminated, stopped, gone during COPY", times(1, 12, 60), database)
