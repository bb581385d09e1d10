"""How long the board of very many sets takes from the server, as a browser waits for it.

``python -m benchmarks.board [--rounds 9]`` prints a line for each page and writes ``benchmarks/results/board.json``. The sets are
put into databases of their own, 200 tenants by 50 and by 60 dates, a tenth not published; `dataharvest web` is a process of
its own, and no page is asked for twice, so that none is answered from what was read before. The oracle: every cell of the page is
counted, against the sets that were put there.
"""

import argparse
import asyncio
import statistics
import sys
import time

import asyncpg
import httpx

from benchmarks.site import Site, fresh_site, keep_result
from dataharvest.adapters.postgres.schema import migrate
from tests.web.conftest import serving
from tests.web.many_sets import TENANTS, fill

_PAGES = ((50, "/?days=14", 0.15), (50, "/?days=60&per_page=50", 0.3), (60, "/?days=60&per_page=200", 0.3))
"""Dates in the database, the page, and how long it may take, in seconds."""


def main() -> int:
    """Run the rounds; 1 when a page was wrong or took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        results = [_measure(site, dates, path, limit_s, options.rounds) for dates, path, limit_s in _PAGES]
    keep_result("board", results)
    return 0 if all(one["within_limit"] for one in results) else 1


def _measure(site: Site, dates: int, path: str, limit_s: float, rounds: int) -> dict[str, object]:
    server = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
    url = f"{server.rpartition('/')[0]}/board_{dates}"
    asyncio.run(_filled(server, url, dates))
    environment = {**site.stack.environment(), "DATAHARVEST_HOME": str(site.home), "DATAHARVEST_DATABASE_URL": url}
    with serving(environment) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.get("/?days=1")
        waited = [_waited_s(client, path, dates, number) for number in range(rounds)]
    median = statistics.median(waited[1:])
    print(f"board {path} of {TENANTS * dates:,} sets: {median:.3f} s, the first {waited[0]:.3f} s (rounds {rounds})")
    return {
        "id": "board",
        "path": path,
        "sets": TENANTS * dates,
        "limit_s": limit_s,
        "median_s": round(median, 4),
        "within_limit": median <= limit_s,
        "waited_s": [round(one, 4) for one in waited],
    }


async def _filled(server: str, url: str, dates: int) -> None:
    name = url.rpartition("/")[2]
    connection = await asyncpg.connect(server)
    known = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
    if not known:
        await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    if not known:
        await migrate(url)
        await fill(url, dates=dates)


def _waited_s(client: httpx.Client, path: str, dates: int, number: int) -> float:
    begun = time.perf_counter()
    answer = client.get(f"{path}&until=2026-12-{number + 1:02}")
    waited_s = time.perf_counter() - begun
    answer.raise_for_status()
    asked = dict(httpx.URL(path).params)
    wanted = min(int(asked["days"]), dates) * min(int(asked.get("per_page", "50")), TENANTS)
    found = answer.text.count('<td><a class="s-')
    if found != wanted:
        raise AssertionError(f"{path} shows {found:,} sets, not {wanted:,}")
    return waited_s


if __name__ == "__main__":
    sys.exit(main())
