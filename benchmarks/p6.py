"""P6: many tenants with four small files each: sets a second, from the first upload to the last message.

``python -m benchmarks.p6 [--tenants 200] [--rounds 3]`` prints one line and writes ``benchmarks/results/p6.json``, with what
a set costs in processor time, by part. The uploads themselves are part of the time and use the same cores.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.processor_time import watched
from benchmarks.sets import SetFiles, problem_with, write_set
from benchmarks.site import Site, fresh_site, keep_result, uploading, wait_until

_UPLOADS_AT_ONCE = 4


def main() -> int:
    """Run the rounds; 1 when a message was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times, parts = [], []
    with fresh_site() as (site, folder), site.workers(2) as workers:
        _round(site, folder, "warm", count=4)
        for number in range(options.rounds):
            with watched(site, workers) as part:
                seconds, sets = _round(site, folder, f"round{number}", count=options.tenants)
            _check(site, sets)
            times.append(seconds)
            parts.append({name: round(seconds / options.tenants, 4) for name, seconds in part.items()})
    return _report(times, parts, count=options.tenants)


def _round(site: Site, folder: Path, name: str, *, count: int) -> tuple[float, dict[str, SetFiles]]:
    sets = {
        f"{name}-{number}": write_set(folder / f"{name}-{number}", portfolios=60, transactions=300, seed=number)
        for number in range(count)
    }
    files = [(path, f"{tenant}/{path.name}") for tenant, made in sets.items() for path in made.files.values()]
    with uploading(site.stack.environment()) as put, ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        started = time.time()
        list(pool.map(lambda one: put(*one), files))
    published = f"SELECT count(*) FROM set_version WHERE tenant LIKE '{name}-%' AND state = 'published'"
    wait_until(lambda: site.psql(published) == str(count), timeout_s=600, poll_s=0.5)
    ended = float(site.psql(f"SELECT extract(epoch FROM max(sent_at)) FROM outbound WHERE tenant LIKE '{name}-%'"))
    return ended - started, sets


def _check(site: Site, sets: dict[str, SetFiles]) -> None:
    for tenant, made in sets.items():
        if problem := problem_with(site, made, tenant=tenant):
            print(f"P6 FAIL: {problem}")
            sys.exit(1)


def _report(times: list[float], parts: list[dict[str, float]], *, count: int) -> int:
    rate = median([count / seconds for seconds in times])
    print(f"P6 sets_per_s={rate:.1f} (tenants {count}, rounds {len(times)}, processor seconds a set {parts[-1]})")
    result = {"id": "P6", "sets_per_s": round(rate, 2), "tenants": count, "seconds": times, "processor_s_per_set": parts}
    keep_result("p6", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
