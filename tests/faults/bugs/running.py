"""A short run with a planted bug: it has to turn red."""

import asyncio
from dataclasses import dataclass
from functools import partial

from tests.faults.bugs import BUGS, planted
from tests.faults.journal import Journal
from tests.faults.kinds import SCALES
from tests.faults.kinds.messages import some_twice
from tests.faults.run import new_trial
from tests.faults.site import Site
from tests.faults.trial import Script, Trial, play_trial

ROWS = 1_200
SETTLE_S = 20.0


@dataclass(frozen=True)
class Found:
    """What a run has found."""

    bug: str
    violations: list[str]
    first_seen: str

    def __str__(self) -> str:
        """One line."""
        example = self.first_seen or (self.violations[0] if self.violations else "NOTHING")
        return f"{self.bug}: {len(self.violations)} violations, the first: {example[:150]}"


async def run_with(bug: str, made: Site, *, seed: int) -> Found:
    """Play a short load with the bug; an empty name plants none. The world forgets the violations afterwards."""
    name = f"bug-{bug.replace(' ', '-') or 'none'}"
    trial = new_trial(name, made, Journal(seed), seed=seed)
    trial.settle_s, trial.ends_when_red = SETTLE_S, bool(bug)
    await play_trial(trial, partial(_script, settings=planted(bug) if bug else {}, fault=BUGS.get(bug, "F2")))
    witness = made.world.witness
    found = sorted({*witness.violations.all(), *made.world.crew.unexpected_ends()})
    for sentences in vars(witness.violations).values():
        sentences.clear()
    made.world.crew.members.clear()
    made.world.crew.stubborn.clear()
    await witness.forget_tenants([one.tenant for one in trial.sets])
    return Found(bug, found, trial.first_seen)


async def _script(trial: Trial, *, settings: dict[str, str], fault: str) -> None:
    proxied = trial.site.through_proxies if fault == "stall" else {}
    trial.usual_settings = {**settings, **proxied}
    await trial.staff(1, **trial.usual_settings)
    await trial.feed(ROWS)
    await _FAULTS[fault](trial)


async def _kill(trial: Trial) -> None:
    async with trial.fault("F2", "SIGKILL of the only worker"):
        await trial.until_stored(0.2)
        trial.world.crew.alive[0].kill()
        trial.start(**trial.usual_settings)


async def _stall(trial: Trial) -> None:
    async with trial.fault("F7", "the link to postgres is stalled"):
        await trial.until_stored(0.1)
        trial.site.proxies["postgres"].stall()
        await asyncio.sleep(3)
        trial.site.proxies["postgres"].heal()


async def _twice(trial: Trial) -> None:
    await some_twice(trial, 1, SCALES["short"])


_FAULTS: dict[str, Script] = {"F2": _kill, "stall": _stall, "F10": _twice}
