"""P7: one to eight workers with two chunk partitions each, where waiting and not the cores is the limit.

``python -m benchmarks.p7 [--workers 1 2 4 8] [--seconds 60]`` prints one line and writes ``benchmarks/results/p7.json``. Every
round trip to the database takes 50 ms more than it would. The rate is that of the chunks between a fifth and four fifths of the
file: at the end the partitions run dry one after the other, by chance, which says nothing of the workers. As many chunks may be
under way as keep every partition busy. Void (exit 2) when the cores are busy for more than 60 % of it with most workers.
"""

import argparse
import sys
import time

import psutil

from benchmarks.delay_proxy import delayed
from benchmarks.generator import write_transactions
from benchmarks.loads import DAY, require_all, rows_of, warm_up
from benchmarks.site import fresh_site, keep_result, wait_until
from dataharvest.rules.splitting import chunk_bytes_for

_CHUNK_BYTES, _ROW_BYTES = 128 << 10, 48
_CHUNKS_PER_S = 4.0
"""Of one worker, about: the file is made so long that it takes the time."""
_PARTITIONS_EACH, _UNDER_WAY = 2, 256
_MOST_BUSY = 0.6
_MIDDLE = """
SELECT (count(*) - 1) / extract(epoch FROM max(committed_at) - min(committed_at)) FROM (
    SELECT committed_at, percent_rank() OVER (ORDER BY committed_at) AS place FROM chunk WHERE tenant = 'bench') one
WHERE place BETWEEN 0.2 AND 0.8"""


def main() -> int:
    """Run each number of workers; 1 when a load was wrong, 2 when the run is void."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    options = parser.parse_args()
    found = {count: _rate(count, seconds=options.seconds, delay_ms=options.delay_ms) for count in options.workers}
    return _report(found)


def _rate(workers: int, *, seconds: float, delay_ms: float) -> tuple[float, float]:
    """Chunks a second, and the share of the cores that was busy meanwhile."""
    program = (sys.executable, "-m", "benchmarks.partitioned", str(_PARTITIONS_EACH * workers))
    with fresh_site(program=program) as (site, folder):
        path = folder / "transactions.csv"
        oracle = write_transactions(path, rows=int(seconds * workers * _CHUNKS_PER_S * _CHUNK_BYTES / _ROW_BYTES))
        # All files are cut alike: those of a large one would be twice as long.
        half = _CHUNK_BYTES // 2
        is_large = chunk_bytes_for(path.stat().st_size, chunk_bytes=half) > half
        chunk_bytes = half if is_large else _CHUNK_BYTES
        settings = {"DATAHARVEST_CHUNK_BYTES": str(chunk_bytes), "DATAHARVEST_CHUNKS_IN_FLIGHT": str(_UNDER_WAY)}
        url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
        with delayed(url, delay_ms=delay_ms) as late, site.workers(workers, DATAHARVEST_DATABASE_URL=late, **settings):
            warm_up(site, folder)
            site.upload(path, f"bench/transactions_{DAY}.csv")
            # From the first chunk on: what the start costs is not part of the rate.
            wait_until(lambda: site.psql("SELECT count(*) FROM chunk WHERE tenant = 'bench'") != "0", timeout_s=120)
            psutil.cpu_percent()
            done = f"SELECT coalesce(sum(persisted_count), 0) >= {oracle.rows} FROM chunk WHERE tenant = 'bench'"
            wait_until(lambda: site.psql(done) == "t", timeout_s=20 * seconds, poll_s=1.0)
            busy = psutil.cpu_percent() / 100
            require_all(site, oracle, rows_of("bench"), name="P7")
        time.sleep(1)
        return float(site.psql(_MIDDLE)), busy


def _report(found: dict[int, tuple[float, float]]) -> int:
    fewest, most = min(found), max(found)
    share = (found[most][0] / found[fewest][0]) / (most / fewest)
    shown = ", ".join(f"{count} workers {rate:.1f} chunks/s" for count, (rate, _) in found.items())
    print(f"P7 of_linear={share:.2f} ({shown}; cores busy {found[most][1]:.0%} with {most})")
    keep_result("p7", {"id": "P7", "of_linear": round(share, 3), "chunks_per_s_and_busy": found})
    if found[most][1] > _MOST_BUSY:
        print("void: the cores were the limit")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
