"""What P9a and P9b share: the time that a small set of one tenant takes, alone and while another tenant loads."""

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generator import Oracle, write_transactions
from benchmarks.sets import SetFiles, problem_with, upload_set, write_set
from benchmarks.site import Site, wait_until

_WAIT_S = 3600.0
_BEGUN_SHARE = 0.05


@dataclass
class Neighbours:
    """Tenant A with one large file and tenant B with small sets, on the same services."""

    site: Site
    folder: Path
    rows: int
    sets: int
    problems: list[str] = field(default_factory=list)
    _numbers: int = 0

    def __post_init__(self) -> None:
        """Write A's file."""
        self.large = self.folder / "transactions_20260102.csv"
        self.oracle: Oracle = write_transactions(self.large, rows=self.rows)

    def small_set_s(self) -> float:
        """The time from the end of the upload of a small set of B to its publication; its messages are checked."""
        self._numbers += 1
        tenant = f"small{self._numbers}"
        made: SetFiles = write_set(self.folder / tenant, portfolios=60, transactions=300, seed=self._numbers)
        upload_set(self.site, made, tenant=tenant)
        started = time.time()
        published = f"SELECT extract(epoch FROM published_at) FROM set_version WHERE tenant = '{tenant}' AND state = 'published'"
        wait_until(lambda: self.site.psql(published) != "", timeout_s=_WAIT_S, poll_s=0.5)
        if problem := problem_with(self.site, made, tenant=tenant):
            self.problems.append(problem)
        return float(self.site.psql(published)) - started

    def alone(self) -> list[float]:
        """Small sets with nobody else at work."""
        return [self.small_set_s() for _ in range(self.sets)]

    def large_file_s(self, tenant: str) -> float:
        """A's file with nobody else at work."""
        started = self._upload_large(tenant)
        self._wait_for_large(tenant)
        return self._last_commit(tenant) - started

    def beside_each_other(self, tenant: str) -> tuple[list[float], float]:
        """Small sets, one after the other, while A loads, and the time of A's file."""
        started = self._upload_large(tenant)
        begun = f"SELECT coalesce(sum(record_count), 0) FROM chunk WHERE tenant = '{tenant}'"
        wait_until(lambda: int(self.site.psql(begun)) >= _BEGUN_SHARE * self.rows, timeout_s=_WAIT_S)
        found: list[float] = []
        while len(found) < self.sets and int(self.site.psql(begun)) < self.rows:
            seconds = self.small_set_s()
            if int(self.site.psql(begun)) < self.rows:
                # One that outlasted A's file did not have it beside it all the time.
                found.append(seconds)
        self._wait_for_large(tenant)
        return found, self._last_commit(tenant) - started

    def _upload_large(self, tenant: str) -> float:
        self.site.upload(self.large, f"{tenant}/{self.large.name}")
        return time.time()

    def _wait_for_large(self, tenant: str) -> None:
        done = f"SELECT count(*) FROM delivery WHERE tenant = '{tenant}' AND state = 'complete'"
        wait_until(lambda: self.site.psql(done) == "1", timeout_s=_WAIT_S, poll_s=0.5)
        found = self.site.psql(
            f"SELECT count(*), sum(amount) FROM row_transactions JOIN delivery USING (delivery_id) WHERE tenant = '{tenant}'"
        )
        if found != f"{self.oracle.rows}|{self.oracle.amount:.4f}":
            self.problems.append(f"{tenant}: loaded {found}, the file holds {self.oracle}")

    def _last_commit(self, tenant: str) -> float:
        return float(self.site.psql(f"SELECT extract(epoch FROM max(committed_at)) FROM chunk WHERE tenant = '{tenant}'"))


def p95(times: list[float]) -> float:
    """The time that 95 of 100 stay below, by the nearest rank."""
    return sorted(times)[max(0, -(-len(times) * 95 // 100) - 1)]


def median(times: list[float]) -> float:
    """The middle."""
    return statistics.median(times)
