"""What a system without work costs, and how long it takes to start.

``python -m benchmarks.idle [--seconds 60] [--rounds 5]`` prints one line and writes ``benchmarks/results/idle.json``: processor
time of a worker and a splitter in per cent of a core, database transactions a second, the time of ``dataharvest --help``, and the
time from a worker's start to the first chunk that it stores.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.generator import write_transactions
from benchmarks.processor_time import watched
from benchmarks.site import Site, fresh_site, keep_result, wait_until

_SETTLE_S = 15.0


def main() -> int:
    """Measure; 1 when the file that is to be stored does not arrive whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        helps = [_help_s(site) for _ in range(options.rounds)]
        firsts = [_first_chunk_s(site, folder, number) for number in range(options.rounds)]
        idle = _idle(site, seconds=options.seconds)
    return _report({"help_s": median(helps), "first_chunk_s": median(firsts), **idle, "all_first_chunk_s": firsts})


def _help_s(site: Site) -> float:
    started = time.perf_counter()
    site.command("--help")
    return time.perf_counter() - started


def _first_chunk_s(site: Site, folder: Path, number: int) -> float:
    path, tenant, rows = folder / "small.csv", f"first{number}", 1000
    write_transactions(path, rows=rows)
    site.upload(path, f"{tenant}/transactions_20260101.csv")
    stored = f"SELECT sum(persisted_count) FROM chunk WHERE tenant = '{tenant}'"
    started = time.time()
    with site.workers(1):
        wait_until(lambda: site.psql(stored) != "", timeout_s=120)
        if site.psql(stored) != f"{rows}":
            print(f"idle FAIL: {site.psql(stored)} rows of {rows} are stored")
            sys.exit(1)
        return float(site.psql(f"SELECT extract(epoch FROM min(committed_at)) FROM chunk WHERE tenant = '{tenant}'")) - started


def _idle(site: Site, *, seconds: float) -> dict[str, float]:
    commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with site.workers(1) as workers:
        time.sleep(_SETTLE_S)
        before = int(site.psql(commits))
        with watched(site, workers) as part:
            time.sleep(seconds)
        found = (int(site.psql(commits)) - before) / seconds
    shares = {f"{name}_percent": round(100 * used / seconds, 2) for name, used in part.items()}
    return {**shares, "transactions_per_s": round(found, 2)}


def _report(found: dict[str, object]) -> int:
    shown = " ".join(f"{name}={one:.2f}" for name, one in found.items() if isinstance(one, float))
    print(f"idle {shown}")
    keep_result("idle", {"id": "idle", **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
