"""P5: what a row costs in a small and in a large file.

``python -m benchmarks.p5 [--rows 1000000 30000000] [--rounds 3]`` prints one line and writes ``benchmarks/results/p5.json``. A
round loads a file of each size, the smaller one first; a row's cost is the time to the last commit, and the processor time of
all parts until the file is judged, over the number of rows.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.generator import Oracle, write_transactions
from benchmarks.loads import load, require_all, rows_of, warm_up
from benchmarks.processor_time import watched
from benchmarks.site import Site, fresh_site, keep_result

Costs = dict[str, list[float]]


def main() -> int:
    """Run the rounds; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 30_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder), site.workers(2) as workers:
        files = {rows: folder / f"{rows}.csv" for rows in options.rows}
        oracles = {rows: write_transactions(path, rows=rows) for rows, path in files.items()}
        warm_up(site, folder)
        rounds = [
            [_cost(site, workers, files[rows], oracles[rows], f"round{number}-{rows}") for rows in options.rows]
            for number in range(options.rounds)
        ]
    return _report(rounds, options.rows)


def _cost(site: Site, workers: list[int], path: Path, oracle: Oracle, tenant: str) -> tuple[float, float]:
    with watched(site, workers) as part:
        stored_s = load(site, path, tenant=tenant).stored_s
    require_all(site, oracle, rows_of(tenant), name="P5")
    return 1e6 * stored_s / oracle.rows, 1e6 * sum(part.values()) / oracle.rows


def _middle(rounds: list[list[tuple[float, float]]], index: int) -> str:
    elapsed, spent = (median([one[index][side] for one in rounds]) for side in (0, 1))
    return f"{elapsed:.2f} µs a row, processor {spent:.2f} µs"


def _report(rounds: list[list[tuple[float, float]]], rows: list[int]) -> int:
    elapsed, spent = (median([large[side] / small[side] for small, large in rounds]) for side in (0, 1))
    shown = "; ".join(f"{count:,} rows {_middle(rounds, index)}" for index, count in enumerate(rows))
    print(f"P5 ratio={elapsed:.2f} processor={spent:.2f} ({shown}; rounds {len(rounds)})")
    result = {"id": "P5", "rows": rows, "ratio": round(elapsed, 3), "processor": round(spent, 3), "microseconds": rounds}
    keep_result("p5", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
