r"""P1a and P1b: one large transactions file, from the object in S3, against \copy of the same file.

``python -m benchmarks.p1 [--rows 3000000] [--rounds 3]`` prints a line for each and writes ``benchmarks/results/p1a.json`` and
``p1b.json``. All sides run in the same round on the same PostgreSQL. P1a: every row checked and committed, against a table with
the same columns and no key. P1b: duplicates judged as well, against a table that keeps an index on the account and a unique one
on the reference row by row, and against the bare table that gets both indexes afterwards.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.generator import Oracle, write_transactions
from benchmarks.loads import copy_s, load, make_table, require_all, rows_of, warm_up
from benchmarks.processor_time import watched
from benchmarks.site import Site, fresh_site, keep_result

_INDEXES = ("CREATE INDEX ON {table} (account_number)", "CREATE UNIQUE INDEX ON {table} (transaction_reference)")


@dataclass(frozen=True)
class Round:
    """Seconds of each side."""

    stored_s: float
    judged_s: float
    copy_s: float
    indexes_s: float
    """To make both indexes after the copy."""
    indexed_copy_s: float


def main() -> int:
    """Run the rounds; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds, parts = [], []
    with fresh_site() as (site, folder), site.workers(2) as workers:
        path = folder / "transactions.csv"
        oracle = write_transactions(path, rows=options.rows)
        warm_up(site, folder)
        for number in range(options.rounds):
            tenant = f"bench{number}"
            with watched(site, workers) as part:
                ours = load(site, path, tenant=tenant)
            require_all(site, oracle, rows_of(tenant), name="P1")
            bare_s, indexes_s = _copy_then_index(site, path, oracle)
            rounds.append(Round(ours.stored_s, ours.judged_s, bare_s, indexes_s, _copy_indexed(site, path, oracle)))
            parts.append(part)
    return _report(rounds, parts, rows=options.rows)


def _copy_then_index(site: Site, path: Path, oracle: Oracle) -> tuple[float, float]:
    make_table(site, "peer")
    seconds = copy_s(site, path, "peer")
    require_all(site, oracle, "peer", name="P1")
    started = time.perf_counter()
    _make_indexes(site, "peer")
    return seconds, time.perf_counter() - started


def _copy_indexed(site: Site, path: Path, oracle: Oracle) -> float:
    make_table(site, "peer")
    _make_indexes(site, "peer")
    seconds = copy_s(site, path, "peer")
    require_all(site, oracle, "peer", name="P1")
    make_table(site, "peer")
    return seconds


def _make_indexes(site: Site, table: str) -> None:
    for statement in _INDEXES:
        site.psql(statement.format(table=table))


def _report(rounds: list[Round], parts: list[dict[str, float]], *, rows: int) -> int:
    a = median([one.copy_s / one.stored_s for one in rounds])
    b = median([one.indexed_copy_s / one.judged_s for one in rounds])
    after = median([(one.copy_s + one.indexes_s) / one.judged_s for one in rounds])
    stored, judged, copied, indexed = (
        median([getattr(one, name) for one in rounds]) for name in ("stored_s", "judged_s", "copy_s", "indexed_copy_s")
    )
    indexed_after = median([one.copy_s + one.indexes_s for one in rounds])
    shown = f"rounds {len(rounds)}"
    print(f"P1a ratio={a:.2f} (ours {stored:.1f} s, copy {copied:.1f} s, {shown}; processor seconds until judged {parts[-1]})")
    peers = f"indexes kept {indexed:.1f} s, made afterwards {indexed_after:.1f} s"
    print(f"P1b ratio={b:.2f} afterwards={after:.2f} (ours {judged:.1f} s, {peers}, {shown})")
    seconds = [asdict(one) for one in rounds]
    keep_result("p1a", {"id": "P1a", "ratio": round(a, 3), "rows": rows, "seconds": seconds, "processor_s": parts})
    keep_result("p1b", {"id": "P1b", "ratio": round(b, 3), "afterwards": round(after, 3), "rows": rows, "seconds": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
