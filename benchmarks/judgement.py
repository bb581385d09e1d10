"""How long judging a clean delivery takes, against one statement that groups its natural keys.

``python -m benchmarks.judgement [--rows 1000000 3000000] [--rounds 3]`` prints a line for each size and writes
``benchmarks/results/judgement.json``. Ours counts and sums the rows and finds that no natural key occurs twice, a large delivery
in steps, of which the longest is named; the peer does the same by two statements, sums and ``GROUP BY`` of a hash of the key.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

from benchmarks.generator import write_transactions
from benchmarks.site import fresh_site, keep_result
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.adapters.postgres.sums import sums_query
from dataharvest.entities import all_entities
from dataharvest.ports.judgements import LockedJudgement

_COLUMNS = ["record_id", "account_number", "transaction_reference", "amount", "keyword"]
_DELIVERY = """
INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes, state,
                      chunk_bytes, splitter_version, persisted_count)
VALUES ('bench', '2026-01-02', 'transactions', 'b', $1, '', '', now(), 0, 'judging', 1, 1, $2) RETURNING delivery_id
"""
_GROUPED = """
SELECT EXISTS (SELECT FROM row_transactions WHERE delivery_id = $1
               GROUP BY hashtextextended(transaction_reference::text, 0) HAVING count(*) > 1)
"""


def main() -> int:
    """Run the rounds; 1 when a judgement was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
        results = [asyncio.run(_measure(url, folder, rows=rows, rounds=options.rounds)) for rows in options.rows]
    keep_result("judgement", results)
    return 0


async def _measure(url: str, folder: Path, *, rows: int, rounds: int) -> dict[str, object]:
    database = Database(url, pool_size=1, application_name="benchmark")
    delivery_id = await _load(database, folder, rows=rows)
    rounds_of_steps = []
    pairs = []
    for _ in range(rounds):
        rounds_of_steps.append(await _ours(database, delivery_id))
        pairs.append((sum(rounds_of_steps[-1]), await _grouped(database, delivery_id)))
    await database.close()
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(other / own for own, other in pairs)
    longest, last = max(map(max, rounds_of_steps)), max(steps[-1] for steps in rounds_of_steps)
    parts = f"{len(rounds_of_steps[0])} steps, longest {longest:.2f} s, last {last:.2f} s"
    print(f"judgement of {rows:,} rows ratio={ratio:.2f} (ours {ours:.2f} s in {parts}, grouped {peer:.2f} s, rounds {rounds})")
    found = {"ratio": round(ratio, 3), "seconds_ours_and_grouped": pairs, "seconds_of_steps": rounds_of_steps}
    return {"id": "judgement", "rows": rows, **found}


async def _load(database: Database, folder: Path, *, rows: int) -> int:
    path = folder / "transactions.csv"
    write_transactions(path, rows=rows)
    async with database.transaction() as connection:
        delivery_id: int = await connection.fetchval(_DELIVERY, str(rows), rows)
        await connection.fetchval("SELECT set_config('dataharvest.delivery_id', $1, true)", str(delivery_id))
        await connection.copy_to_table("row_transactions", source=path, columns=_COLUMNS, format="csv", header=True)
    return delivery_id


async def _ours(database: Database, delivery_id: int) -> list[float]:
    """Seconds of each step."""
    async with database.connection() as connection:
        await connection.execute("DELETE FROM judgement_slice WHERE delivery_id = $1", delivery_id)
    steps: list[float] = []
    is_weighed = False
    while not is_weighed:
        started = time.perf_counter()
        async with PostgresJudgements(database).open(delivery_id) as judgement:
            if judgement is None:
                sys.exit("judgement FAIL: there is nothing to be judged")
            if is_weighed := await judgement.count_next():
                await _weigh(judgement)
        steps.append(time.perf_counter() - started)
    return steps


async def _weigh(judgement: LockedJudgement) -> None:
    if await judgement.weigh():
        sys.exit("judgement FAIL: duplicates where there are none")


async def _grouped(database: Database, delivery_id: int) -> float:
    started = time.perf_counter()
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL work_mem = '64MB'")
        await connection.fetchrow(sums_query(all_entities()["transactions"]), delivery_id)
        if await connection.fetchval(_GROUPED, delivery_id):
            sys.exit("judgement FAIL: the peer finds duplicates where there are none")
        return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
