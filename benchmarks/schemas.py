"""How the rows of deliveries are best kept: one huge delivery, and many small ones, in three ways.

``python -m benchmarks.schemas [--rows 3000000] [--tenants 1000] [--days 250] [--own-days 10] [--rounds 3]`` prints a line for
each way and writes ``benchmarks/results/schemas.json``. Tables of their own are made for fewer dates (``--own-days``), for
each is four relations; what they cost is given for one. Counts and sums of every delivery looked at are compared with the file's.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.fairness import median
from benchmarks.generator import Oracle, write_transactions
from benchmarks.schema_ways import DatedTable, Delivery, OneTable, OwnTables, Way
from benchmarks.site import fresh_site, keep_result
from dataharvest.adapters.postgres.connection import Connection, Database

_CHUNK_BYTES = 1 << 20
_SMALL_ROWS = 300
_LOOKED_AT = 50
_PER_ACCOUNT = "SELECT account_number, count(*), sum(amount) FILTER (WHERE keyword = 'DEPOSIT') FROM {} GROUP BY account_number"
_ONE_ACCOUNT = "SELECT count(*), sum(amount) FROM {} AND account_number = '10000007'"
_CATALOGUE = """
SELECT count(*) AS relations, (SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relname IN ('pg_class', 'pg_attribute', 'pg_type', 'pg_index', 'pg_depend', 'pg_constraint', 'pg_statistic',
                      'pg_attrdef', 'pg_inherits') AND relnamespace = 'pg_catalog'::regnamespace) AS bytes
FROM pg_class"""

Figures = dict[str, float]


def main() -> int:
    """Measure all ways; 1 when rows were missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--days", type=int, default=250)
    parser.add_argument("--own-days", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
        found = asyncio.run(_measure(url, folder, options))
    for name, figures in found.items():
        print(f"schema {name}: " + " ".join(f"{key}={value:.4g}" for key, value in figures.items()))
    keep_result("schemas", {"id": "schemas", "options": vars(options), "ways": found})
    return 0


async def _measure(url: str, folder: Path, options: argparse.Namespace) -> dict[str, Figures]:
    large, small = folder / "large.csv", folder / "small.csv"
    oracle, few = write_transactions(large, rows=options.rows), write_transactions(small, rows=_SMALL_ROWS)
    database = Database(url, pool_size=1, application_name="benchmark")
    days = [date(2026, 1, 1) + timedelta(number) for number in range(options.days)]
    found: dict[str, Figures] = {}
    async with database.connection() as connection:
        for way in (OwnTables(), OneTable(), DatedTable()):
            prepare_s = await _seconds(way.prepare(connection, days))
            used = days[: options.own_days] if isinstance(way, OwnTables) else days
            many = await _many(connection, way, small.read_bytes(), used, few, tenants=options.tenants)
            rounds = [
                await _large(connection, way, large.read_bytes(), Delivery(10**9 + number, days[0]), oracle)
                for number in range(options.rounds)
            ]
            figures = {key: median([one[key] for one in rounds]) for key in rounds[0]}
            found[way.name] = {"prepare_s": prepare_s, **many, **figures}
    await database.close()
    return found


async def _many(connection: Connection, way: Way, content: bytes, days: list[date], wanted: Oracle, *, tenants: int) -> Figures:
    before = await _row(connection, _CATALOGUE)
    deliveries = [Delivery(number * tenants + tenant, day) for number, day in enumerate(days) for tenant in range(tenants)]
    chunks = _chunks(content)
    started = time.perf_counter()
    for one in deliveries:
        await way.store(connection, one, chunks)
        if isinstance(way, OwnTables):
            await way.seal(connection, one, count=_SMALL_ROWS)
    stored = time.perf_counter() - started
    after = await _row(connection, _CATALOGUE)
    await connection.execute("VACUUM ANALYZE")
    looked_at = deliveries[:: max(1, len(deliveries) // _LOOKED_AT)]
    await _require_all(connection, way, looked_at, wanted)
    # A session that has not met these tables yet has to read them from the catalogue: what each query of a pool may have to do.
    planning = [await _plan_ms(connection, _PER_ACCOUNT.format(way.source(one))) for one in looked_at]
    reading = [await _seconds(connection.fetch(_PER_ACCOUNT.format(way.source(one)))) for one in looked_at]
    removing = [await _seconds(way.remove(connection, one)) for one in looked_at]
    return {
        "small_deliveries": len(deliveries),
        "small_per_s": len(deliveries) / stored,
        "relations": after["relations"] - before["relations"],
        "catalogue_bytes_each": float(after["bytes"] - before["bytes"]) / len(deliveries),
        "small_plan_ms": median(planning),
        "small_read_ms": 1000 * median(reading),
        "small_remove_ms": 1000 * median(removing),
    }


async def _large(connection: Connection, way: Way, content: bytes, one: Delivery, wanted: Oracle) -> Figures:
    store_s = await _seconds(way.store(connection, one, _chunks(content)))
    seal_s = await _seconds(way.seal(connection, one, count=wanted.rows))
    await _require_all(connection, way, [one], wanted)
    per_account_s = await _seconds(connection.fetch(_PER_ACCOUNT.format(way.source(one))))
    account_ms = 1000 * await _seconds(connection.fetch(_ONE_ACCOUNT.format(way.source(one))))
    remove_s = await _seconds(way.remove(connection, one))
    return {
        "large_store_s": store_s,
        "large_seal_s": seal_s,
        "large_per_account_s": per_account_s,
        "large_one_account_ms": account_ms,
        "large_remove_s": remove_s,
    }


async def _require_all(connection: Connection, way: Way, deliveries: list[Delivery], wanted: Oracle) -> None:
    for one in deliveries:
        found = await _row(connection, f"SELECT count(*), sum(amount) FROM {way.source(one)}")
        if tuple(found) != (wanted.rows, wanted.amount):
            print(f"schemas FAIL: {way.name} has {tuple(found)} of {wanted}")
            sys.exit(1)


async def _row(connection: Connection, query: str) -> Any:
    return await connection.fetchrow(query)


async def _plan_ms(connection: Connection, query: str) -> float:
    lines = [row[0] for row in await connection.fetch(f"EXPLAIN (SUMMARY) {query}")]
    return float(next(line for line in lines if line.startswith("Planning Time")).split()[2])


async def _seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


def _chunks(content: bytes) -> list[bytes]:
    body, chunks, start = content.partition(b"\n")[2], [], 0
    while start < len(body):
        end = body.rfind(b"\n", start, start + _CHUNK_BYTES) + 1
        chunks.append(body[start:end])
        start = end
    return chunks


if __name__ == "__main__":
    sys.exit(main())
