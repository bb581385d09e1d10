"""``python -m tests.kills``: the kill test as a command; exit code 1 on any violation, 2 when the run is void."""

import argparse
import asyncio
import logging
import random
import sys
import time
from pathlib import Path

from tests.kills.rounds import Round, Script, in_recovery, play, under_load, with_outage
from tests.kills.sets import FileSet, make_set
from tests.kills.world import WORKER_SETTINGS, World, world

MEAN_CHUNKS_PER_SET = 76


def main() -> int:
    """Run all rounds and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="kills that are planned, about")
    parser.add_argument("--chunks", type=int, default=8000, help="chunks of all rounds together, at least about")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's files and choices")
    parser.add_argument("--only", default="", help="name of one round")
    parser.add_argument("--home", type=Path, default=None, help="keep the stack and the logs here")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    logging.basicConfig(level=logging.CRITICAL)
    print(f"seed {seed}", flush=True)
    return asyncio.run(_run(options, seed))


def rounds(kills: int) -> dict[str, Script]:
    """The rounds by name; the kills are shared out between them."""
    share = max(1, (kills - 16) // 8)
    return {
        "one worker": under_load(workers=1, kills=2 * share),
        "two workers": under_load(workers=2, kills=3 * share),
        "three workers": under_load(workers=3, kills=3 * share, at_once=2),
        "database outage": with_outage("postgres", length_s=6),
        "broker outage": with_outage("kafka", length_s=6),
        # Last, because by then there is much to recover.
        "recovery": in_recovery(kills=4),
    }


def round_sets(name: str, *, seed: int, chunks: int) -> list[FileSet]:
    """Sets that give about so many chunks together; tenants are named after the round."""
    chance = random.Random(f"{seed} {name}")
    label = name.partition(" ")[0]
    chunk_bytes = int(WORKER_SETTINGS["DATAHARVEST_CHUNK_BYTES"])
    return [
        make_set(
            f"{label}-{number:02d}", seed=f"{seed} {name} {number}", file_bytes=int(chance.uniform(0.3, 1.7) * 70 * chunk_bytes)
        )
        for number in range(max(2, -(-chunks // MEAN_CHUNKS_PER_SET)))
    ]


async def _run(options: argparse.Namespace, seed: int) -> int:
    started = time.monotonic()
    chosen = {name: script for name, script in rounds(options.kills).items() if options.only in name}
    played: list[Round] = []
    async with world(home=options.home) as made:
        for name, script in chosen.items():
            sets = round_sets(name, seed=seed, chunks=-(-options.chunks // len(chosen)))
            one = Round(name, made, sets, random.Random(f"{seed} {name} kills"))
            played.append(one)
            print(await play(one, script), flush=True)
        made.witness.violations.other.update(made.crew.unexpected_ends())
        return await _report(made, played, duration_s=time.monotonic() - started)


async def _report(made: World, played: list[Round], *, duration_s: float) -> int:
    violations = made.witness.violations
    for sentence in violations.all()[:200]:
        print(f"  {sentence}")
    if violations.lost:
        print(f"chunks committed and not in the ledger {violations.lost_chunk_count()}")
    sets = [one for each in played for one in each.sets]
    hits, planned = sum(one.hits for one in played), sum(one.planned for one in played)
    stored = await made.witness.ledger.stored_record_count([one.tenant for one in sets])
    chunk_count = await made.witness.ledger.chunk_count([one.tenant for one in sets])
    print(
        f"looks of the witness {made.witness.looks}, {planned} kills planned, {duration_s:.0f} s, other {len(violations.other)}"
    )
    print(
        f"kills {hits}, chunks {chunk_count}, lost {len(violations.lost)}, doubled {len(violations.doubled)}, "
        f"early {len(violations.early)}, unready {violations.unready_set_count()}"
    )
    if violations.all():
        return 1
    if hits < 0.9 * planned or stored < 0.95 * sum(one.row_count for one in sets):
        print("the run is void: too few kills hit, or too few rows were loaded")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
