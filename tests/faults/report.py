"""The report of a run: one readable page and the same as JSON; every figure in it is counted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.journal import Fault, Journal, percentile
from tests.kills.witness import Violations

MINIMUM_FAULTS, MINIMUM_ROWS = 0.9, 0.95


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    journal: Journal
    violations: Violations
    titles: dict[str, str]
    """Of the kinds, by name."""
    notes: Sequence[str]
    """A line for each trial."""
    rows_planned: int
    rows_stored: int
    sent_again: int
    """Outbound messages that came more than once, with the same id and content."""
    duration_s: float
    looks: int
    command: str
    """Runs this again."""

    @property
    def summary(self) -> str:
        """The last line."""
        found = self.violations
        stuck = len(self.journal.stuck) + len(found.unready)
        counts = f"lost {len(found.lost)}, doubled {len(found.doubled)}, early {len(found.early)}, stuck {stuck}"
        return f"faults {len(self.journal.happened)}, {counts}"

    @property
    def is_red(self) -> bool:
        """Whether anything happened that must not."""
        return bool(self.violations.all() or self.journal.stuck)

    @property
    def is_void(self) -> bool:
        """Whether too little happened for the run to say anything."""
        planned = sum(one.is_counted for one in self.journal.faults)
        too_few = len(self.journal.happened) < MINIMUM_FAULTS * planned
        return too_few or self.rows_stored < MINIMUM_ROWS * self.rows_planned

    @property
    def exit_code(self) -> int:
        """0 when all is well, 1 on a violation, 2 when the run is void."""
        return 1 if self.is_red else 2 if self.is_void else 0


def write_report(outcome: Outcome, folder: Path) -> None:
    """Write ``faults-report.md`` and ``faults-report.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults-report.md").write_text("\n".join(_page(outcome)) + "\n", "utf-8")
    content = {
        "seed": outcome.journal.seed,
        "command": outcome.command,
        "summary": outcome.summary,
        "is_void": outcome.is_void,
        "violations": outcome.violations.all(),
        "kinds": {name: _figures(faults) for name, faults in _by_kind(outcome.journal).items()},
        "faults": [one.as_json() for one in outcome.journal.faults],
        "rows": {"planned": outcome.rows_planned, "stored": outcome.rows_stored},
        "sent_again": outcome.sent_again,
        "duration_s": round(outcome.duration_s),
    }
    (folder / "faults-report.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _page(outcome: Outcome) -> Iterator[str]:
    yield f"# Faults, seed {outcome.journal.seed}"
    yield ""
    yield f"{outcome.duration_s:.0f} s, {outcome.rows_stored:,} of {outcome.rows_planned:,} records stored, "
    yield f"{outcome.looks:,} looks of the witness, {outcome.sent_again:,} outbound messages sent again, each the same as before."
    yield ""
    yield "| kind | faults | chunks were on their way at | recovery p50 | p99 | chunks delivered again p50 | p99 |"
    yield "|---|---|---|---|---|---|---|"
    for name, faults in _by_kind(outcome.journal).items():
        figures = _figures(faults)
        hit = f"{figures['happened']} of {figures['planned']}"
        recovery = f"{_s(figures['recovery_p50_s'])} | {_s(figures['recovery_p99_s'])}"
        again = f"{figures['redelivered_p50']} | {figures['redelivered_p99']}"
        yield f"| {name} {outcome.titles.get(name, '')} | {hit} | {figures['met_work']} | {recovery} | {again} |"
    yield ""
    yield "| kind | when (UTC) | fault | the system | on their way | recovery | again |"
    yield "|---|---|---|---|---|---|---|"
    yield from (_line(one) for one in outcome.journal.faults)
    yield ""
    yield from (f"- {note}" for note in outcome.notes)
    yield ""
    yield from (f"- **{sentence[:300]}**" for sentence in outcome.violations.all()[:200])
    yield ""
    yield f"`{outcome.command}` runs this again."
    yield ""
    if outcome.is_void:
        yield "The run is void: too few faults hit, or too few records were stored."
    yield outcome.summary


def _by_kind(journal: Journal) -> dict[str, list[Fault]]:
    found: dict[str, list[Fault]] = {}
    for one in journal.faults:
        found.setdefault(one.kind, []).append(one)
    return found


def _figures(faults: Sequence[Fault]) -> dict[str, float | None]:
    hit = [one for one in faults if one.has_happened]
    recoveries = [one.recovery_s for one in hit if one.recovery_s is not None]
    again = [float(one.redelivered) for one in hit]
    return {
        "planned": len(faults),
        "happened": len(hit),
        "met_work": sum(bool(one.waiting) for one in hit),
        "recovery_p50_s": _rounded(percentile(recoveries, 0.5)),
        "recovery_p99_s": _rounded(percentile(recoveries, 0.99)),
        "redelivered_p50": percentile(again, 0.5),
        "redelivered_p99": percentile(again, 0.99),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"


def _line(one: Fault) -> str:
    did = one.did if one.has_happened else f"did not hit: {one.did}"
    waiting = "–" if one.waiting is None else one.waiting
    return f"| {one.kind} | {one.at:%H:%M:%S} | {one.what} | {did} | {waiting} | {_s(one.recovery_s)} | {one.redelivered} |"
