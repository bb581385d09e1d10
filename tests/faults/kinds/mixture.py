"""F16: a seeded mixture, one fault every few seconds while loads keep coming, and no time to recover in between."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil

from tests.faults.kinds.links import TROUBLES
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.site import LINKS
from tests.faults.trial import Trial
from tests.kills.ledger import GONE

SHORTEST_S, LONGEST_S = 3.0, 8.0
WORKERS = 2
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'dataharvest worker%'"


async def mixture(trial: Trial, count: int, scale: Scale) -> None:
    """For each of so many mixtures: a fault every three to eight seconds, then healing, then everything has to go on."""
    for _ in range(count):
        await trial.staff(WORKERS, **trial.site.through_proxies)
        began = len(trial.journal.faults)
        ends_at = time.monotonic() + scale.mixture_s
        while time.monotonic() < ends_at:
            if await trial.pulse.at_rest():
                await trial.feed(scale.row_count // 4)
            next_at = time.monotonic() + trial.chance.uniform(SHORTEST_S, LONGEST_S)
            what = trial.chance.choice(list(MENU))
            entry = trial.journal.plan("F16", what)
            entry.did = await MENU[what](trial)
            entry.has_happened = True
            trial.planned += 1
            trial.hits += 1
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            while len(trial.world.crew.alive) < WORKERS:
                trial.start(**trial.site.through_proxies)
        await trial.site.heal()
        healed = time.monotonic()
        recovery_s = await trial.pulse.again(waiting=await trial.pulse.waiting(), since=healed)
        for entry in trial.journal.faults[began:]:
            entry.recovery_s = recovery_s


async def _kill_worker(trial: Trial) -> str:
    victim = trial.chance.choice(trial.world.crew.alive)
    victim.kill()
    return f"{victim.log.stem} died, another was started"


async def _freeze_worker(trial: Trial) -> str:
    victim = trial.chance.choice(trial.world.crew.alive)
    length_s = trial.chance.uniform(1, 12)
    process = psutil.Process(victim.pid)
    process.suspend()
    await asyncio.sleep(length_s)
    process.resume()
    return f"{victim.log.stem} was frozen for {length_s:.1f} s"


async def _end_session(trial: Trial) -> str:
    with suppress(*GONE):
        found = [row["pid"] for row in await trial.world.witness.ledger.fetch(_SESSIONS)]
        if found:
            await trial.world.witness.ledger.fetch("SELECT pg_terminate_backend($1)", trial.chance.choice(found))
            return "a session ended"
    return "no session was there"


def _killing(service: str) -> Callable[[Trial], Awaitable[str]]:
    async def kill(trial: Trial) -> str:
        await trial.world.kill_service(service)
        length_s = trial.chance.uniform(0, 4)
        await asyncio.sleep(length_s)
        await trial.world.start_service(service)
        return f"{service} was gone for {length_s:.1f} s and its start"

    return kill


async def _trouble_link(trial: Trial) -> str:
    link, trouble = trial.chance.choice(LINKS), trial.chance.choice(list(TROUBLES))
    TROUBLES[trouble](trial.site.proxies[link], trial.chance.randint(0, 50_000))
    await asyncio.sleep(trial.chance.uniform(0.5, 3))
    trial.site.proxies[link].heal()
    return f"the link to {link} was {trouble}"


MENU: dict[str, Callable[[Trial], Awaitable[str]]] = {
    "a worker is killed": _kill_worker,
    "a worker freezes": _freeze_worker,
    "a session is terminated": _end_session,
    "PostgreSQL is killed": _killing("postgres"),
    "the broker is killed": _killing("kafka"),
    "a link is in trouble": _trouble_link,
    "another link is in trouble": _trouble_link,
}

F16 = Kind("F16", "a seeded mixture, a fault every 3 to 8 s", times(1, 1, 10), mixture)
