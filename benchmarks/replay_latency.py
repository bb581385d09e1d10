"""How long a live set takes while a range of `chunks` is replayed at the default rate, against the same sets with no replay."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.sets import problem_with, upload_set, write_set
from benchmarks.site import Site, fresh_site, wait_until

_RESULT = Path(__file__).parent / "results" / "replay_latency.json"
_WAIT_S = 120.0


class Sets:
    """Small sets of live tenants, one after the other."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site, self._folder, self._number = site, folder, 0

    def published_after_s(self) -> float:
        """The time from the end of the upload of a set to its publication; its messages are checked."""
        self._number += 1
        tenant = f"live{self._number}"
        made = write_set(self._folder / tenant, portfolios=10, transactions=40, seed=self._number)
        upload_set(self._site, made, tenant=tenant)
        uploaded_at = time.time()
        at = f"SELECT extract(epoch FROM published_at) FROM set_version WHERE tenant = '{tenant}' AND state = 'published'"
        wait_until(lambda: self._site.psql(at) != "", timeout_s=_WAIT_S, poll_s=0.2)
        if problem := problem_with(self._site, made, tenant=tenant):
            raise SystemExit(problem)
        return round(float(self._site.psql(at)) - uploaded_at, 2)


def load_old(site: Site, folder: Path, *, transactions: int) -> None:
    """A set of many chunks, to be replayed."""
    made = write_set(folder / "old", portfolios=10, transactions=transactions, seed=0)
    upload_set(site, made, tenant="old")
    done = "SELECT count(*) FROM set_version WHERE tenant = 'old' AND state = 'published'"
    wait_until(lambda: site.psql(done) == "1", timeout_s=_WAIT_S)


@contextmanager
def replaying(site: Site, *options: str) -> Iterator[None]:
    """A replay of the old set that runs for as long as the block does."""
    program = str(Path(sys.executable).parent / "dataharvest")
    words = [program, "replay", "chunks", "--from-offset", "0", "--tenant", "old", *options]
    running = subprocess.Popen(words, env=site.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: site.psql("SELECT count(*) FROM replay WHERE sent_count > 0") == "1", timeout_s=_WAIT_S)
        yield
        if running.poll() is not None:
            raise SystemExit("the replay was over before the live sets were: nothing was measured")
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)


def measure(site: Site, folder: Path, *, set_count: int, old_transactions: int, rate: float | None) -> dict[str, object]:
    """The times of both, in seconds, and their medians."""
    sets = Sets(site, folder)
    with site.workers(2, DATAHARVEST_CHUNK_BYTES="512"):
        load_old(site, folder, transactions=old_transactions)
        sets.published_after_s()
        alone = [sets.published_after_s() for _ in range(set_count)]
        with replaying(site, *(("--rate", str(rate)) if rate else ())):
            began, beside = time.monotonic(), [sets.published_after_s() for _ in range(set_count)]
            sent = int(site.psql("SELECT sent_count FROM replay"))
            rate_held = round(sent / (time.monotonic() - began), 1)
    return {
        "alone_s": alone,
        "beside_s": beside,
        "alone_median_s": statistics.median(alone),
        "beside_median_s": statistics.median(beside),
        "asked_per_s": rate or "default",
        "sent_per_s": rate_held,
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Measure, print, and keep the result beside the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=8)
    parser.add_argument("--old-transactions", type=int, default=40_000)
    parser.add_argument("--rate", type=float, help="messages per second; without it the default")
    parser.add_argument("--out", type=Path, default=_RESULT)
    given = parser.parse_args()
    with fresh_site() as (site, folder):
        found = measure(site, folder, set_count=given.sets, old_transactions=given.old_transactions, rate=given.rate)
    text = json.dumps(found, indent=1) + "\n"
    given.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
