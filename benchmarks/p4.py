"""P4: four small files uploaded on an idle system, from the upload to the last outbound message, S3's own event included.

``python -m benchmarks.p4 [--sets 60]`` prints one line and writes ``benchmarks/results/p4.json``. The time begins before the last
of the four files is sent and ends when the broker has acknowledged the last message, by the rows' own ``sent_at``.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.sets import problem_with, write_set
from benchmarks.site import Site, fresh_site, keep_result, uploading, wait_until


def main() -> int:
    """Send the sets one after the other; 1 when a message was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=60)
    options = parser.parse_args()
    with fresh_site() as (site, folder), site.workers(2):
        # The first ones meet a system that is still starting.
        times = [_set_s(site, folder, number) for number in range(options.sets + 3)][3:]
    return _report(times)


def _set_s(site: Site, folder: Path, number: int) -> float:
    tenant = f"small{number}"
    made = write_set(folder / tenant, portfolios=60, transactions=300, seed=number)
    with uploading(site.stack.environment()) as put:
        for path in made.files.values():
            started = time.time()
            put(path, f"{tenant}/{path.name}")
    published = f"SELECT count(*) FROM set_version WHERE tenant = '{tenant}' AND state = 'published'"
    wait_until(lambda: site.psql(published) == "1", timeout_s=120, poll_s=0.2)
    if problem := problem_with(site, made, tenant=tenant):
        print(f"P4 FAIL: {problem}")
        sys.exit(1)
    return float(site.psql(f"SELECT extract(epoch FROM max(sent_at)) FROM outbound WHERE tenant = '{tenant}'")) - started


def _report(times: list[float]) -> int:
    worst = sorted(times)[max(0, -(-len(times) * 99 // 100) - 1)]
    print(f"P4 p50={median(times):.2f} s p99={worst:.2f} s (sets {len(times)})")
    result = {"id": "P4", "p50_s": round(median(times), 3), "p99_s": round(worst, 3), "seconds": times}
    keep_result("p4", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
