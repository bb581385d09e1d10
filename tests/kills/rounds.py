"""The rounds: what is killed, when, and what counts as a kill that hit."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.kills.sets import FileSet
from tests.kills.verdict import judge
from tests.kills.workers import Worker
from tests.kills.world import NotInTime, World, eventually

PATIENCE_S = 90.0
"""How long a round waits for progress before it goes on without it; the machine may be busy."""
_SAMPLE_S = 0.25


@dataclass
class Round:
    """One round under way: its sets, its workers, its kills."""

    name: str
    world: World
    sets: Sequence[FileSet]
    chance: random.Random
    planned: int = 0
    hits: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        """Records of all sets of the round."""
        return sum(one.row_count for one in self.sets)

    async def until_stored(self, share: float) -> None:
        """Wait until this share of the round's records is in the ledger."""

        async def reached() -> bool:
            count = await self.world.stored_record_count(self.sets)
            return count is not None and count >= share * self.row_count

        await eventually(reached, what=f"{share:.0%} of the records stored", within_s=PATIENCE_S)

    async def kill_working(self) -> Worker | None:
        """Kill a random worker that works; None, and a miss, when none does for a long time."""
        self.planned += 1
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            victim = await self._working_worker()
            if victim is not None and victim.kill():
                self.hits += 1
                return victim
        self.notes.append("no worker worked")
        return None

    async def _working_worker(self) -> Worker | None:
        members = self.world.crew.alive
        before = {one.pid: one.cpu_s() for one in members}
        count = await self.world.stored_record_count(self.sets)
        await asyncio.sleep(_SAMPLE_S * self.chance.uniform(0.5, 1.5))
        grown = (await self.world.stored_record_count(self.sets) or 0) > (count or 0)
        working = [one for one in members if one.is_alive and one.cpu_s() - before[one.pid] > 0.02 and _is_settled(one)]
        return self.chance.choice(working) if grown and working else None

    async def pause(self, longest_s: float) -> None:
        """A random time."""
        await asyncio.sleep(self.chance.uniform(0, longest_s))


def _is_settled(worker: Worker) -> bool:
    # A worker that is starting uses the processor too.
    return time.monotonic() - worker.started_at > 4 and worker.listens


Script = Callable[[Round], Awaitable[None]]


async def play(one: Round, script: Script) -> str:
    """Upload, run the script, let everything settle, judge; returns the round's line for the report."""
    started = time.monotonic()
    await one.world.upload(one.sets)
    try:
        await script(one)
    except NotInTime as late:
        one.notes.append(str(late))
    if not one.world.crew.alive:
        one.world.crew.start()
    healed = time.monotonic()
    await one.world.settled(one.sets)
    settled_s = time.monotonic() - healed
    await judge(one.sets, witness=one.world.witness)
    await one.world.crew.end_all()
    slow = [worker.log.name for worker in one.world.crew.members if worker.needed_watchdog]
    one.world.witness.violations.other.update(f"{name} did not end by itself" for name in slow)
    tenants = [each.tenant for each in one.sets]
    chunk_count = await one.world.witness.ledger.chunk_count(tenants)
    notes = "".join(f"; {note}" for note in one.notes)
    return (
        f"{one.name}: {one.hits} of {one.planned} kills, {chunk_count} chunks, {len(one.sets)} sets, settled {settled_s:.0f} s "
        f"after the last fault, {time.monotonic() - started:.0f} s in all{notes}"
    )


def under_load(*, workers: int, kills: int, at_once: int = 1) -> Script:
    """Kill random working workers at random points of the load; each is started again after a short time."""

    async def script(one: Round) -> None:
        crew = one.world.crew
        for _ in range(workers):
            crew.start()
        shares = sorted(one.chance.uniform(0.01, 0.8) for _ in range(-(-kills // at_once)))
        left = kills
        for share in shares:
            await one.until_stored(share)
            for _ in range(min(at_once, left)):
                await one.kill_working()
                left -= 1
            await one.pause(1.5)
            while len(crew.alive) < workers:
                crew.start()

    return script


def in_recovery(*, kills: int) -> Script:
    """Workers that lost their tables are killed while they recover, and others right after they started."""

    async def script(one: Round) -> None:
        crew = one.world.crew
        crew.start()
        for number in range(kills):
            await one.until_stored(0.8 * (number + 0.5) / kills)
            await one.kill_working()
            crew.forget_tables()
            await _kill_newcomer(one, crew.start(), recovering=number % 2 == 0)
            crew.start()

    return script


async def _kill_newcomer(one: Round, newcomer: Worker, *, recovering: bool) -> None:
    one.planned += 1
    if recovering:
        tables = one.world.crew.tables

        async def recovery_began() -> bool:
            return any(tables.rglob("*.db"))

        await eventually(recovery_began, what="a recovery", within_s=PATIENCE_S)
        before = await one.world.stored_record_count(one.sets)
        await one.pause(0.4)
        killed = newcomer.kill()
        # Nothing is stored before the recovery has ended, and no other worker is there.
        one.hits += killed and await one.world.stored_record_count(one.sets) == before
    else:
        await asyncio.sleep(1)
        await one.pause(4)
        one.hits += newcomer.kill()


def with_outage(service: str, *, length_s: float, times: int = 2) -> Script:
    """While a service is down one worker joins and one leaves; each time, one is killed before and one after."""

    async def script(one: Round) -> None:
        crew = one.world.crew
        crew.start()
        crew.start()
        for number in range(times):
            await one.until_stored((number + 0.1) / (times + 1))
            await one.kill_working()
            crew.start()
            await one.until_stored((number + 0.5) / (times + 1))
            await _join_and_leave(one, service, length_s=length_s)
            await one.until_stored((number + 0.8) / (times + 1))
            await one.kill_working()
            crew.start()

    return script


async def _join_and_leave(one: Round, service: str, *, length_s: float) -> None:
    crew = one.world.crew

    # One that has only just been started does not listen yet.
    async def any_listens() -> bool:
        return any(map(_is_settled, crew.alive))

    await eventually(any_listens, what="a worker that listens", within_s=PATIENCE_S)
    leaver = one.chance.choice([worker for worker in crew.alive if _is_settled(worker)])
    await one.world.kill_service(service)
    crew.start()
    await one.pause(2)
    leaver.ask_to_end()
    await asyncio.sleep(length_s)
    during = leaver.exit_code
    await one.world.start_service(service)
    after = await leaver.ended(within_s=PATIENCE_S)
    one.notes.append(f"leaver ended with {after} {'after' if during is None else 'during'} the outage")
    if after != 0:
        one.world.witness.violations.other.add(f"{leaver.log.name} was asked to end while {service} was down: {after}")
