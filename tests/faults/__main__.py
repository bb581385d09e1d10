"""``python -m tests.faults``: the fault tests as a command; exit code 1 on any violation, 2 when the run is void."""

import argparse
import asyncio
import logging
import random
import sys
from pathlib import Path

from tests.faults.bugs import BUGS
from tests.faults.bugs.running import run_with
from tests.faults.disks import in_own_mounts
from tests.faults.kinds import ALL, SCALES
from tests.faults.run import Plan, run
from tests.faults.site import site


def main() -> int:
    """Run the chosen kinds, write the report, print its last line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="names of kinds, parted by commas, such as F1,F6; all by default")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's files and choices")
    parser.add_argument("--count", type=int, default=None, help="faults of each kind, instead of the scale's")
    parser.add_argument("--scale", choices=SCALES, default="full", help="short (minutes), full, or drill (hours)")
    parser.add_argument("--rows", type=int, default=None, help="records of a load, instead of the scale's")
    parser.add_argument("--bugs", nargs="*", metavar="BUG", help="plant these bugs, or all, one by one: each run must turn red")
    parser.add_argument("--report", type=Path, default=Path("build/faults"), help="folder of the report")
    parser.add_argument("--home", type=Path, default=None, help="keep the stack and the logs here")
    options = parser.parse_args()
    in_own_mounts()
    if options.bugs is not None:
        return asyncio.run(_find_bugs(options))
    wanted = [name.strip() for name in options.only.split(",") if name.strip()] or list(ALL)
    if unknown := sorted(set(wanted) - set(ALL)):
        parser.error(f"no kind is called {', '.join(unknown)}; there are {', '.join(ALL)}")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    logging.basicConfig(level=logging.CRITICAL)
    print(f"seed {seed}", flush=True)
    plan = Plan([ALL[name] for name in wanted], SCALES[options.scale], seed, options.count, options.rows)
    outcome = asyncio.run(run(plan, home=options.home, report=options.report))
    for sentence in outcome.violations.all()[:30]:
        print(f"  {sentence[:300]}")
    if outcome.is_void:
        print("the run is void: too few faults hit, or too few records were stored")
    print(outcome.summary)
    return outcome.exit_code


async def _find_bugs(options: argparse.Namespace) -> int:
    """The test of the test: 0 when a run without a bug is clean and every bug was found."""
    missed = 0
    async with site(home=options.home) as made:
        clean = await run_with("", made, seed=options.seed or 1)
        print(f"without a bug: {len(clean.violations)} violations {clean.violations[:3] or ''}", flush=True)
        for bug in options.bugs or BUGS:
            found = await run_with(bug, made, seed=options.seed or 1)
            missed += not found.violations
            print(found, flush=True)
    print(f"bugs {len(options.bugs or BUGS)}, missed {missed}")
    return 1 if missed or clean.violations else 0


if __name__ == "__main__":
    sys.exit(main())
