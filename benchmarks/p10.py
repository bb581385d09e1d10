"""P10: a correction, from its sealing to the last outbound message, against the whole set's first time.

``python -m benchmarks.p10 [--portfolios 300000] [--transactions 3000000] [--rounds 3]`` prints one line and writes
``benchmarks/results/p10.json``: a corrected accounts file with ten changed balances, then a transactions file with ten more
fees. Either must send exactly ten messages.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.fairness import median
from benchmarks.sets import problem_with, set_options, upload_set, with_changed_balances, with_further_transactions, write_set
from benchmarks.site import Site, fresh_site, keep_result, wait_until

_CHANGED = 10
_WAIT_S = 1800.0

Round = tuple[float, float, float]


def main() -> int:
    """Run the rounds; 1 when anything but the expected messages went out."""
    options = set_options(__doc__)
    with fresh_site() as (site, folder), site.workers(2, DATAHARVEST_CORRECTION_SETTLE_S="0"):
        rounds = [_round(site, folder / f"{number}", options, number) for number in range(options.rounds)]
    return _report(rounds, records=options.transactions)


def _round(site: Site, folder: Path, options: argparse.Namespace, number: int) -> Round:
    tenant = f"bench{number}"
    made = write_set(folder, portfolios=options.portfolios, transactions=options.transactions, seed=number)
    started = time.time()
    upload_set(site, made, tenant=tenant)
    first_s = _published_at(site, tenant, version=1) - started
    if problem := problem_with(site, made, tenant=tenant):
        _fail(problem)
    with_changed_balances(made.files["accounts"], count=_CHANGED)
    accounts_s = _correct(site, made.files["accounts"], tenant, entity="accounts", version=2)
    with_further_transactions(made.files["transactions"], count=_CHANGED, portfolios=options.portfolios)
    transactions_s = _correct(site, made.files["transactions"], tenant, entity="transactions", version=3)
    return first_s, accounts_s, transactions_s


def _correct(site: Site, path: Path, tenant: str, *, entity: str, version: int) -> float:
    site.upload(path, f"{tenant}/{path.name}")
    published = _published_at(site, tenant, version=version)
    sealed = f"SELECT extract(epoch FROM max(sealed_at)) FROM delivery WHERE tenant = '{tenant}' AND entity = '{entity}'"
    found = site.psql(
        "SELECT count(*), count(*) FILTER (WHERE kind = 'portfolios' AND supersedes IS NOT NULL AND sent_at IS NOT NULL) "
        f"FROM outbound WHERE tenant = '{tenant}' AND version = {version}"
    )
    if found != f"{_CHANGED}|{_CHANGED}":
        _fail(f"the corrected {entity} sent {found} messages, not {_CHANGED}")
    return published - float(site.psql(sealed))


def _published_at(site: Site, tenant: str, *, version: int) -> float:
    query = (
        f"SELECT extract(epoch FROM published_at) FROM set_version WHERE tenant = '{tenant}' AND version = {version} "
        "AND state = 'published'"
    )
    wait_until(lambda: site.psql(query) != "", timeout_s=_WAIT_S, poll_s=0.5)
    return float(site.psql(query))


def _fail(problem: str) -> None:
    print(f"P10 FAIL: {problem}")
    sys.exit(1)


def _report(rounds: list[Round], *, records: int) -> int:
    accounts = median([accounts_s / first_s for first_s, accounts_s, _ in rounds])
    transactions = median([transactions_s / first_s for first_s, _, transactions_s in rounds])
    seconds = " / ".join(f"{median([one[side] for one in rounds]):.1f}" for side in range(3))
    shown = f"first, accounts, transactions {seconds} s, rounds {len(rounds)}"
    print(f"P10 ratio={accounts:.3f} transactions={transactions:.3f} ({shown})")
    ratios = {"ratio": round(accounts, 4), "transactions": round(transactions, 4)}
    result = {"id": "P10", **ratios, "rows": records, "seconds": rounds}
    keep_result("p10", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
