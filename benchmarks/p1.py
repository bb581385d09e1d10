r"""P1a: one large transactions file, from the object in S3 to every row checked and committed, against a bare \copy.

``python -m benchmarks.p1 [--rows 3000000] [--rounds 3]`` prints one line and writes ``benchmarks/results/p1a.json``.
Both sides run in the same round on the same PostgreSQL; the peer loads the same file into a table with the same columns
and no key. Ours counts from the end of the upload to the commit of the last chunk.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from benchmarks.generator import Oracle, write_transactions
from benchmarks.processor_time import watched
from benchmarks.site import Site, fresh_site, keep_result, wait_until

_COLUMNS = "record_id, account_number, transaction_reference, amount, keyword"


def main() -> int:
    """Run the rounds; 1 when a load was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        path = folder / "transactions_20260102.csv"
        oracle = write_transactions(path, rows=options.rows)
        pairs, parts = [], []
        with site.workers(2) as workers:
            _warm_up(site, folder)
            for number in range(options.rounds):
                with watched(site, workers) as part:
                    ours = _ours(site, path, number)
                _check(site, oracle, f"row_transactions JOIN delivery USING (delivery_id) WHERE tenant = 'bench{number}'")
                pairs.append((ours, _copy(site, path, oracle)))
                parts.append(part)
    return _report(pairs, parts, rows=options.rows)


def _warm_up(site: Site, folder: Path) -> None:
    small = folder / "small.csv"
    write_transactions(small, rows=1000, seed=2)
    site.upload(small, "warm/transactions_20260101.csv")
    wait_until(
        lambda: site.psql("SELECT count(*) FROM delivery WHERE tenant = 'warm' AND state = 'complete'") == "1", timeout_s=60
    )


def _ours(site: Site, path: Path, number: int) -> float:
    tenant = f"bench{number}"
    site.upload(path, f"{tenant}/transactions_20260102.csv")
    started = time.time()
    done = f"SELECT count(*) FROM delivery WHERE tenant = '{tenant}' AND state = 'complete'"
    wait_until(lambda: site.psql(done) == "1", timeout_s=600)
    ended = site.psql(
        "SELECT extract(epoch FROM max(committed_at)) FROM chunk JOIN delivery USING (delivery_id) "
        f"WHERE delivery.tenant = '{tenant}'"
    )
    return float(ended) - started


def _copy(site: Site, path: Path, oracle: Oracle) -> float:
    site.psql(
        'DROP TABLE IF EXISTS peer; CREATE TABLE peer (record_id bigint, account_number text COLLATE "C", '
        'transaction_reference text COLLATE "C", amount numeric(19,4), keyword text)'
    )
    started = time.perf_counter()
    site.psql(f"\\copy peer ({_COLUMNS}) FROM '{path}' CSV HEADER")
    seconds = time.perf_counter() - started
    _check(site, oracle, "peer WHERE true")
    return seconds


def _check(site: Site, oracle: Oracle, source: str) -> None:
    found = site.psql(f"SELECT count(*), sum(amount), sum(amount) FILTER (WHERE keyword = 'DEPOSIT') FROM {source}")
    wanted = f"{oracle.rows}|{oracle.amount:.4f}|{oracle.deposits:.4f}"
    if found != wanted:
        print(f"P1a FAIL: loaded {found}, the file holds {wanted}")
        sys.exit(1)


def _report(pairs: list[tuple[float, float]], parts: list[dict[str, float]], *, rows: int) -> int:
    ours, copy = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(peer / own for own, peer in pairs)
    print(f"P1a ratio={ratio:.2f} (ours {ours:.1f} s, copy {copy:.1f} s, rounds {len(pairs)})")
    print(f"processor seconds until judged: {parts[-1]}")
    result = {"id": "P1a", "ratio": round(ratio, 3), "rows": rows, "seconds_ours_and_copy": pairs, "processor_s": parts}
    keep_result("p1a", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
