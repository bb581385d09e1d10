"""P9a: tenant B's small sets while tenant A loads a large file, when waiting and not the cores is the limit.

``python -m benchmarks.p9a [--rows 100000000] [--sets 10] [--rounds 3] [--delay-ms 50]`` prints one line and writes
``benchmarks/results/p9a.json``. Every round trip to the database takes 50 ms more than it would, for everybody.
"""

import argparse
import sys

from benchmarks.delay_proxy import delayed
from benchmarks.fairness import Neighbours, median
from benchmarks.site import fresh_site, keep_result

# About 5 GB.
_ROWS = 100_000_000


def main() -> int:
    """Run the rounds; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    options = parser.parse_args()
    rounds = []
    with fresh_site() as (site, folder):
        neighbours = Neighbours(site, folder, rows=options.rows, sets=options.sets)
        url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
        settings = {"DATAHARVEST_CHUNK_BYTES": str(128 << 10)}
        with delayed(url, delay_ms=options.delay_ms) as late, site.workers(2, DATAHARVEST_DATABASE_URL=late, **settings):
            neighbours.small_set_s()
            for number in range(options.rounds):
                alone = neighbours.alone()
                beside, _ = neighbours.beside_each_other(f"large{number}")
                rounds.append((alone, beside))
    return _report(rounds, neighbours.problems, rows=options.rows)


def _report(rounds: list[tuple[list[float], list[float]]], problems: list[str], *, rows: int) -> int:
    if problems or not all(beside for _, beside in rounds):
        print(f"P9a FAIL: {'; '.join(problems) or 'the large file was loaded before a small set was through'}")
        return 1
    ratio = median([median(beside) / median(alone) for alone, beside in rounds])
    alone, beside = (median([median(one[side]) for one in rounds]) for side in (0, 1))
    print(f"P9a ratio={ratio:.2f} (beside {beside:.2f} s, alone {alone:.2f} s, rounds {len(rounds)})")
    result = {"id": "P9a", "ratio": round(ratio, 3), "rows": rows, "seconds_alone_and_beside": rounds}
    keep_result("p9a", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
