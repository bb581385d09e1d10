"""F15: the workers' clocks jump by an hour, forth and back, and over the end of a month and of a year.

Only the workers' clocks: PostgreSQL's says when anything happened. Where libfaketime does not work the kind is left out, and the
report says so.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial

AWAY_S = 10.0
"""How long the clock is wrong."""
_HOUR_S = 3_600.0
_LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


async def jumping_clocks(trial: Trial, count: int, scale: Scale) -> None:
    """Move the clocks of both workers while a load is on its way, and set them right again."""
    file = trial.world.stack.home.path / "clock"
    _write(file, 0)
    settings = _settings(file)
    if not settings or not await asyncio.to_thread(_moves, file, settings):
        trial.notes.append("F15 left out: libfaketime does not work here")
        return
    for number in range(count):
        await trial.staff(2, **settings)
        await trial.all_joined()
        what = list(JUMPS)[number % len(JUMPS)]
        async with trial.fault("F15", f"the workers' clocks go {what}"):
            await trial.feed(scale.row_count // max(1, count))
            _write(file, JUMPS[what](datetime.now(UTC)))
            await asyncio.sleep(AWAY_S)
            _write(file, 0)


def _until(now: datetime, *, month: int, year: int) -> float:
    """Seconds until shortly before the month begins."""
    return (datetime(year, month, 1, tzinfo=UTC) - now).total_seconds() - AWAY_S / 2


JUMPS: dict[str, Callable[[datetime], float]] = {
    "an hour forward": lambda _: _HOUR_S,
    "an hour back": lambda _: -_HOUR_S,
    "over the end of the month": lambda now: _until(now, month=now.month % 12 + 1, year=now.year + now.month // 12),
    "over the end of the year": lambda now: _until(now, month=1, year=now.year + 1),
}
"""By how many seconds each moves the clock, at a moment."""


def _write(file: Path, offset_s: float) -> None:
    # In one step: a worker may be reading it.
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{offset_s:+.0f}s\n", "ascii")
    fresh.replace(file)


def _settings(file: Path) -> dict[str, str]:
    """What a worker needs whose clock follows the file; nothing when there is no libfaketime."""
    found = find_spec("libfaketime")
    if found is None or found.origin is None:
        return {}
    return {
        "LD_PRELOAD": str(Path(found.origin).parent / _LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        # Waiting is measured by the other clock, which never jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # What a wrong clock has put aside, a sweep finds again.
        "DATAHARVEST_SWEEP_INTERVAL_S": "5",
    }


def _moves(file: Path, settings: dict[str, str]) -> bool:
    """Whether a process with these settings has the time of the file."""
    _write(file, _HOUR_S)
    words = [sys.executable, "-S", "-c", "import time; print(time.time())"]
    done = subprocess.run(words, env={**os.environ, **settings}, capture_output=True, text=True, check=True, timeout=30)
    _write(file, 0)
    return float(done.stdout) - time.time() > _HOUR_S / 2


F15 = Kind("F15", "clocks that jump", times(0, 0, 4), jumping_clocks)
