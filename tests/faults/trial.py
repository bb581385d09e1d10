"""A trial: loads under faults, then healed, corrected, left to settle, and judged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from dataharvest.errors import Unavailable
from dataharvest.harvest.workers import member_count
from tests.faults.health import complaints_about, holdings
from tests.faults.journal import Fault, Journal
from tests.faults.load import FEW_COPIES, LoadedSet, apply_contract, make_load
from tests.faults.pulse import Pulse
from tests.faults.reader import Reader
from tests.faults.site import Site
from tests.faults.topics import lag
from tests.faults.verdict import judge_load
from tests.kills.rounds import Round
from tests.kills.witness import GROUP
from tests.kills.workers import Worker
from tests.kills.world import NotInTime, eventually

SETTLE_S = 120.0
"""How long everything may take to come to rest after the last fault."""
END_S = 35.0
"""How long a worker may take to end that was asked to: after 25 s its watchdog ends it."""
SETTINGS = {
    "DATAHARVEST_CHUNK_BYTES": "512",
    "DATAHARVEST_CORRECTION_SETTLE_S": "1",
    "DATAHARVEST_SESSION_TIMEOUT_S": "3",
    # So long that a worker which hangs at its work is seen first; but one that was asked to end does so, as anywhere.
    "DATAHARVEST_WATCHDOG_S": "900",
}


@dataclass
class Trial(Round):
    """One trial under way; ``sets`` grows with every load."""

    sets: list[LoadedSet]
    site: Site = field(kw_only=True)
    journal: Journal = field(kw_only=True)
    seed: int = field(kw_only=True)
    rows_sent: int = 0
    settle_s: float = SETTLE_S
    ends_when_red: bool = False
    """Whether waiting ends with the first violation."""
    first_seen: str = ""
    """The first of them, if it was seen while the load was on its way."""
    usual_settings: dict[str, str] = field(default_factory=dict)
    """Of the worker that is started when none is left."""
    _settings: dict[int, dict[str, str]] = field(default_factory=dict)
    _fed: int = 0
    _told: set[str] = field(default_factory=set)

    async def feed(self, row_count: int, *, copy_count: int = FEW_COPIES) -> list[LoadedSet]:
        """Upload another load of three tenants; from now on progress is measured by it."""
        self._fed += 1
        load = make_load(f"{self.name}-{self._fed}", seed=f"{self.seed}", row_count=row_count, copy_count=copy_count)
        await self.take(load)
        await self.world.upload(load)
        return load

    async def keep_busy(self, row_count: int) -> None:
        """Upload another load when none is under way, so that the next fault meets work."""
        if not await self.pulse.waiting() and await self.pulse.at_rest():
            await self.feed(row_count)

    async def take(self, load: list[LoadedSet]) -> None:
        """Make a load the trial's, before it is uploaded."""
        await asyncio.gather(*(apply_contract(one, run=self.world.run) for one in load))
        self.sets.extend(load)
        self.rows_sent += sum(one.row_count for one in load)
        self.world.witness.sets.update({one.tenant: one for one in load})

    async def replace(self, one: LoadedSet, corrected: LoadedSet) -> None:
        """Send a set's transactions anew; from now on these count."""
        self.sets[self.sets.index(one)] = self.world.witness.sets[one.tenant] = corrected
        self.rows_sent += corrected.counts("transactions")["record"]
        await asyncio.to_thread(partial(_put, self, corrected))

    @property
    def pulse(self) -> Pulse:
        """Of all tenants of the trial."""
        return Pulse(self.world.witness, [one.tenant for one in self.sets])

    def start(self, **settings: str) -> Worker:
        """One more worker."""
        worker = self.world.crew.start(**{**SETTINGS, **settings})
        self._settings[worker.pid] = settings
        return worker

    async def staff(self, count: int, **settings: str) -> list[Worker]:
        """Have exactly so many workers with these settings, and no others."""
        mine = [one for one in self.world.crew.alive if self._settings.get(one.pid) == settings]
        kept, others = mine[:count], [one for one in self.world.crew.alive if one not in mine[:count]]
        for one in others:
            one.ask_to_end()
        kept += [self.start(**settings) for _ in range(count - len(kept))]
        for one in others:
            if await one.ended(within_s=END_S) is None:
                self.world.crew.stubborn.append(one.log.name)
                one.kill()
        return kept

    async def all_joined(self, *, within_s: float = 60) -> None:
        """Wait until the group has as many members as workers are alive; NotInTime when it does not come to that."""

        async def has_joined() -> bool:
            with suppress(Unavailable):
                return await member_count(self.world.environment["DATAHARVEST_BROKER"], GROUP) == len(self.world.crew.alive)
            return False

        await eventually(has_joined, what="every worker in the group", within_s=within_s)

    @asynccontextmanager
    async def fault(self, kind: str, what: str) -> AsyncIterator[Fault]:
        """Do something to the system inside the block, and end it there; the entry says how long the work stood still then.

        The block sets ``has_happened`` to False when the fault did not hit after all, and ``recovery_s`` when it has measured it.
        """
        entry = self.journal.plan(kind, what)
        self.planned += 1
        entry.has_happened = True
        try:
            yield entry
        except NotInTime as late:
            entry.has_happened, entry.did = False, str(late)
        if entry.has_happened:
            self.hits += 1
            await self._await_recovery(entry)
        # A run takes long: whoever waits for it sees where it is.
        found = set(self.world.witness.violations.all()) - self._told
        self._told |= found
        print("\n".join([f"  {entry.line}", *(f"    VIOLATION {one[:200]}" for one in sorted(found))]), flush=True)

    async def _await_recovery(self, entry: Fault) -> None:
        if entry.recovery_s is None:
            ended = time.monotonic()
            entry.redelivered = await self.pulse.redelivered()
            waiting = await self.pulse.waiting()
            entry.waiting = len(waiting)
            entry.recovery_s = await self.pulse.again(waiting=waiting, since=ended)
        entry.did = entry.did or ("went on" if entry.recovery_s is not None else "did not go on")


Script = Callable[[Trial], Awaitable[None]]


async def play_trial(trial: Trial, script: Script) -> str:
    """Run the script, heal, correct, settle, judge; returns the trial's line."""
    started, known = time.monotonic(), len(trial.world.crew.members)
    async with Reader(trial.world, trial.sets).watching():
        try:
            await script(trial)
        except NotInTime as late:
            trial.notes.append(str(late))
        await come_to_rest(trial)
        before = holdings(trial.world)
        await correct(trial)
    await judge_load(trial.sets, witness=trial.world.witness, expected_dead=trial.journal.expected_dead)
    trial.world.witness.violations.other.update(await complaints_about(trial.world, before=before))
    await trial.world.crew.end_all()
    if slow := [one.log.stem for one in trial.world.crew.members[known:] if one.needed_watchdog]:
        trial.notes.append(f"{len(slow)} workers ended only by their watchdog when asked to: {', '.join(slow)}")
    notes = "".join(f"; {note}" for note in trial.notes)
    return f"{trial.name}: {trial.hits} of {trial.planned} faults, {time.monotonic() - started:.0f} s{notes}"


async def come_to_rest(trial: Trial) -> None:
    """Heal everything, leave at least one worker, and wait until all is published; what is late is a violation."""
    await trial.site.heal()
    if not trial.world.crew.alive:
        trial.start(**trial.usual_settings)
    await _until(trial, trial.pulse.at_rest, what=f"{trial.name}: every set published")


async def correct(trial: Trial) -> None:
    """Send one tenant's transactions again with other amounts, and wait until that is published too."""
    if not trial.sets:
        return
    changed = trial.sets[-1].corrected()
    query = "SELECT count(*) FROM set_version WHERE tenant = $1 AND state = 'published'"
    before = (await trial.world.witness.ledger.fetch(query, changed.tenant))[0][0]
    await trial.replace(trial.sets[-1], changed)

    async def published() -> bool:
        return bool((await trial.world.witness.ledger.fetch(query, changed.tenant))[0][0] > before)

    await _until(trial, published, what=f"{trial.name}: the correction published")
    await _until(trial, partial(_all_seen, trial), what=f"{trial.name}: every message seen")
    await _until(trial, partial(no_lag, trial), what=f"{trial.name}: every message read")


def _put(trial: Trial, one: LoadedSet) -> None:
    client = trial.world.s3()
    bucket = trial.world.environment["DATAHARVEST_S3_BUCKET"]
    client.put_object(Bucket=bucket, Key=one.object_key("transactions"), Body=one.file("transactions"))
    client.close()


async def no_lag(trial: Trial) -> bool:
    """Whether the workers have read every message and committed it."""
    return not await lag(trial.world.environment["DATAHARVEST_BROKER"], trial.world.witness)


async def _all_seen(trial: Trial) -> bool:
    query = "SELECT message_id::text FROM outbound WHERE tenant = ANY($1)"
    rows = await trial.world.witness.ledger.fetch(query, [one.tenant for one in trial.sets])
    return {row[0] for row in rows} <= trial.world.witness.sent.keys()


async def _until(trial: Trial, condition: Callable[[], Awaitable[bool]], *, what: str) -> None:
    async def is_over() -> bool:
        seen = trial.world.witness.violations.all()[:1] if trial.ends_when_red else []
        trial.first_seen = trial.first_seen or "".join(seen)
        return bool(seen) or await condition()

    try:
        await eventually(is_over, what=what, within_s=trial.settle_s)
    except NotInTime as late:
        trial.world.witness.violations.unready.add(str(late))
