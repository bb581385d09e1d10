r"""P8: a whole set, from its first upload to the last outbound message, against \copy of its four files.

``python -m benchmarks.p8 [--portfolios 300000] [--transactions 3000000] [--rounds 3]`` prints one line and writes
``benchmarks/results/p8.json``, with what each part of the system used.
"""

import sys
import time

from benchmarks.fairness import median
from benchmarks.loads import copy_s, make_table
from benchmarks.processor_time import watched
from benchmarks.sets import SetFiles, problem_with, set_options, upload_set, write_set
from benchmarks.site import Site, fresh_site, keep_result

_WAIT_S = 1800.0


def main() -> int:
    """Run the rounds; 1 when a message or a copy was wrong."""
    options = set_options(__doc__)
    times, parts = [], []
    with fresh_site() as (site, folder), site.workers(2) as workers:
        made = write_set(folder / "set", portfolios=options.portfolios, transactions=options.transactions)
        _publish(site, write_set(folder / "warm", portfolios=60, transactions=300), tenant="warm")
        for number in range(options.rounds):
            with watched(site, workers) as part:
                started = _publish(site, made, tenant=f"bench{number}")
            ours = _checked_s(site, made, tenant=f"bench{number}", started=started)
            times.append((ours, _copies_s(site, made)))
            parts.append(part)
    return _report(times, parts, made)


def _publish(site: Site, made: SetFiles, *, tenant: str) -> float:
    """When the upload began; the set is published now."""
    started = time.time()
    upload_set(site, made, tenant=tenant)
    site.wait_for(f"EXISTS (SELECT FROM set_version WHERE tenant = '{tenant}' AND state = 'published')", timeout_s=_WAIT_S)
    return started


def _checked_s(site: Site, made: SetFiles, *, tenant: str, started: float) -> float:
    """Seconds to the last message, once all of them are looked through; that is no part of the work."""
    if problem := problem_with(site, made, tenant=tenant):
        print(f"P8 FAIL: {problem}")
        sys.exit(1)
    return float(site.psql(f"SELECT extract(epoch FROM max(sent_at)) FROM outbound WHERE tenant = '{tenant}'")) - started


def _copies_s(site: Site, made: SetFiles) -> float:
    for entity in made.files:
        make_table(site, f"peer_{entity}", entity=entity)
    seconds = sum(copy_s(site, path, f"peer_{entity}") for entity, path in made.files.items())
    found = site.psql("SELECT (SELECT count(*) FROM peer_transactions), (SELECT sum(cash_balance) FROM peer_accounts)")
    if found != f"{made.transaction_count}|{made.balances:.4f}":
        print(f"P8 FAIL: copied {found}")
        sys.exit(1)
    return seconds


def _report(times: list[tuple[float, float]], parts: list[dict[str, float]], made: SetFiles) -> int:
    ratio = median([ours / copies for ours, copies in times])
    ours, copies = (median([one[side] for one in times]) for side in (0, 1))
    shown = f"ours {ours:.1f} s, copies {copies:.1f} s, messages {made.message_count:,}, rounds {len(times)}"
    print(f"P8 ratio={ratio:.2f} ({shown}; processor seconds {parts[-1]})")
    result = {"id": "P8", "ratio": round(ratio, 3), "messages": made.message_count, "transactions": made.transaction_count}
    keep_result("p8", {**result, "seconds_ours_and_copies": times, "processor_s": parts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
