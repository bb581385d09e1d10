"""P9b: tenant B's small sets while tenant A loads a large file, with both cores full.

``python -m benchmarks.p9b [--rows 100000000] [--sets 20] [--rounds 3]`` prints one line and writes
``benchmarks/results/p9b.json``: B's 95th percentile beside A against B alone, and A's speed beside B against A alone.
"""

import argparse
import sys

from benchmarks.fairness import Neighbours, median, p95
from benchmarks.site import fresh_site, keep_result

# About 5 GB.
_ROWS = 100_000_000

Round = tuple[list[float], list[float], float, float]


def main() -> int:
    """Run the rounds; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds: list[Round] = []
    with fresh_site() as (site, folder):
        neighbours = Neighbours(site, folder, rows=options.rows, sets=options.sets)
        with site.workers(2):
            neighbours.small_set_s()
            for number in range(options.rounds):
                alone, large_alone = neighbours.alone(), neighbours.large_file_s(f"alone{number}")
                beside, large_beside = neighbours.beside_each_other(f"beside{number}")
                rounds.append((alone, beside, large_alone, large_beside))
    return _report(rounds, neighbours.problems, rows=options.rows)


def _report(rounds: list[Round], problems: list[str], *, rows: int) -> int:
    if problems or not all(one[1] for one in rounds):
        print(f"P9b FAIL: {'; '.join(problems) or 'the large file was loaded before a small set was through'}")
        return 1
    ratio = median([p95(beside) / p95(alone) for alone, beside, _, _ in rounds])
    kept = median([large_alone / large_beside for _, _, large_alone, large_beside in rounds])
    slowest = median([p95(beside) for _, beside, _, _ in rounds])
    print(f"P9b ratio={ratio:.2f} kept={kept:.2f} (B's p95 beside A {slowest:.2f} s, rounds {len(rounds)})")
    result = {"id": "P9b", "ratio": round(ratio, 3), "kept": round(kept, 3), "rows": rows, "seconds": rounds}
    keep_result("p9b", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
