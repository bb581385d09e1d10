"""P3: the memory of the workers and the splitter while a very large file goes through, against a small one.

``python -m benchmarks.p3 [--megabytes 10000]`` prints one line and writes ``benchmarks/results/p3.json``. Workers and splitter
start anew for each file; their resident memory is read every quarter of a second, and what counts is the largest of each process.
"""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.generator import write_transactions
from benchmarks.loads import load, require_all, rows_of
from benchmarks.site import Site, fresh_site, keep_result

_SMALL_MEGABYTES = 100
_ROW_BYTES = 48
"""About as long as a row of the generator is."""
_LOOK_S = 0.25


def main() -> int:
    """Load both files; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=10_000)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        small = _peaks_mb(site, folder, tenant="small", megabytes=_SMALL_MEGABYTES)
        large = _peaks_mb(site, folder, tenant="large", megabytes=options.megabytes)
    return _report(small, large, megabytes=options.megabytes)


def _peaks_mb(site: Site, folder: Path, *, tenant: str, megabytes: int) -> list[float]:
    path = folder / f"{tenant}.csv"
    oracle = write_transactions(path, rows=megabytes * 1_000_000 // _ROW_BYTES)
    with site.workers(2) as workers, peaks(workers) as found:
        load(site, path, tenant=tenant)
    path.unlink()
    require_all(site, oracle, rows_of(tenant), name="P3")
    return [round(one / 1e6, 1) for one in found]


@contextmanager
def peaks(pids: Sequence[int]) -> Iterator[list[int]]:
    """The largest resident memory of each process while the block runs, in bytes."""
    found, ended = [0] * len(pids), threading.Event()

    def look() -> None:
        processes = [psutil.Process(pid) for pid in pids]
        while not ended.wait(_LOOK_S):
            for index, process in enumerate(processes):
                found[index] = max(found[index], process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        ended.set()
        looking.join()


def _report(small: list[float], large: list[float], *, megabytes: int) -> int:
    ratio = max(large[:-1]) / max(small[:-1])
    workers = f"workers {'/'.join(f'{one:.0f}' for one in large[:-1])} MB, splitter {large[-1]:.0f} MB"
    before = f"for {_SMALL_MEGABYTES} MB {'/'.join(f'{one:.0f}' for one in small[:-1])} and {small[-1]:.0f} MB"
    print(f"P3 peak_mb={max(large):.0f} ratio={ratio:.2f} ({megabytes:,} MB: {workers}; {before})")
    keep_result("p3", {"id": "P3", "megabytes": megabytes, "ratio": round(ratio, 3), "large_mb": large, "small_mb": small})
    return 0


if __name__ == "__main__":
    sys.exit(main())
