"""A run: lanes of kinds side by side, each on a stack of its own, and what they came to."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.journal import Journal
from tests.faults.kinds import LANES, Kind, Scale
from tests.faults.kinds.full_disks import F13
from tests.faults.report import Outcome, write_report
from tests.faults.site import Site, site
from tests.faults.trial import Trial, play_trial
from tests.kills.witness import Violations


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    kinds: Sequence[Kind]
    scale: Scale
    seed: int
    count: int | None = None
    """Faults of each kind; by default what the scale says."""
    row_count: int | None = None

    @property
    def command(self) -> str:
        """The command that runs it again."""
        words = ["python -m tests.faults", f"--only {','.join(kind.name for kind in self.kinds)}", f"--scale {self.scale.name}"]
        words += [f"--count {self.count}"] if self.count is not None else []
        words += [f"--rows {self.row_count}"] if self.row_count else []
        return " ".join([*words, f"--seed {self.seed}"])

    @property
    def lanes(self) -> list[list[Kind]]:
        """The kinds by lanes."""
        lanes = [[kind for kind in self.kinds if kind.name in names] for names in LANES]
        return [lane for lane in lanes if lane]

    @property
    def sized(self) -> Scale:
        """The scale with the number of rows that was asked for."""
        return replace(self.scale, row_count=self.row_count) if self.row_count else self.scale


@dataclass(frozen=True)
class Played:
    """What a lane has come to."""

    journal: Journal
    violations: Violations
    notes: list[str]
    rows_planned: int
    rows_stored: int
    sent_again: int
    looks: int


async def run(plan: Plan, *, home: Path | None, report: Path) -> Outcome:
    """Run the plan and write the report."""
    started = time.monotonic()
    numbered = enumerate(plan.lanes, 1)
    lanes = await asyncio.gather(*(_run_lane(lane, plan, home=home and home / f"lane-{number}") for number, lane in numbered))
    return _reported(lanes, plan, started=started, report=report)


async def _run_lane(kinds: Sequence[Kind], plan: Plan, *, home: Path | None) -> Played:
    journal = Journal(plan.seed)
    trials: list[Trial] = []
    notes: list[str] = []
    async with site(home=home, has_small_disks=any(kind is F13 for kind in kinds)) as made:
        for kind in kinds:
            trials.append(new_trial(kind.name.lower(), made, journal, seed=plan.seed))
            notes.append(await play_trial(trials[-1], lambda trial, kind=kind: _play(trial, kind, plan)))  # type: ignore[misc]
            print(notes[-1], flush=True)
        return await _counted(made, journal, trials, notes)


async def play_together(plan: Plan, made: Site, *, report: Path) -> Outcome:
    """Run the plan as a single trial, which saves the waiting in between, and write the report."""
    started = time.monotonic()
    journal = Journal(plan.seed)
    trial = new_trial("all", made, journal, seed=plan.seed)

    async def script(trial: Trial) -> None:
        for kind in plan.kinds:
            await _play(trial, kind, plan)

    notes = [await play_trial(trial, script)]
    return _reported([await _counted(made, journal, [trial], notes)], plan, started=started, report=report)


async def _play(trial: Trial, kind: Kind, plan: Plan) -> None:
    count = plan.count if plan.count is not None else kind.counts[plan.scale.name]
    if count:
        await kind.play(trial, count, plan.sized)


def new_trial(name: str, made: Site, journal: Journal, *, seed: int) -> Trial:
    """A trial without a load yet."""
    return Trial(name, made.world, [], random.Random(f"{seed} {name}"), site=made, journal=journal, seed=seed)


async def _counted(made: Site, journal: Journal, trials: Sequence[Trial], notes: list[str]) -> Played:
    witness = made.world.witness
    witness.violations.other.update(made.world.crew.unexpected_ends())
    tenants = [one.tenant for trial in trials for one in trial.sets]
    return Played(
        journal=journal,
        violations=witness.violations,
        notes=notes,
        rows_planned=sum(trial.rows_sent for trial in trials),
        rows_stored=await witness.ledger.stored_record_count(tenants),
        sent_again=sum(count - 1 for contents in witness.sent.values() for count in contents.values()),
        looks=witness.looks,
    )


def _reported(lanes: Sequence[Played], plan: Plan, *, started: float, report: Path) -> Outcome:
    violations = Violations()
    for lane in lanes:
        for kind, sentences in vars(lane.violations).items():
            getattr(violations, kind).update(sentences)
    outcome = Outcome(
        journal=Journal(plan.seed, [fault for lane in lanes for fault in lane.journal.faults]),
        violations=violations,
        titles={kind.name: kind.title for kind in plan.kinds},
        notes=[note for lane in lanes for note in lane.notes],
        rows_planned=sum(lane.rows_planned for lane in lanes),
        rows_stored=sum(lane.rows_stored for lane in lanes),
        sent_again=sum(lane.sent_again for lane in lanes),
        duration_s=time.monotonic() - started,
        looks=sum(lane.looks for lane in lanes),
        command=plan.command,
    )
    write_report(outcome, report)
    return outcome
