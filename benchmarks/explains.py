"""Whether questions about one set stay quick beside many millions of rows of others: EXPLAIN (ANALYZE, BUFFERS) of each.

``python -m benchmarks.explains [--rows 30000000]`` prints a line for each question and writes
``benchmarks/results/explains.json`` with the plans. The table of transactions holds deliveries of 300,000 rows and, among the
newest, those of one small set. It ends with 1 when a plan reads all of a table that is not small.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.generator import write_transactions
from benchmarks.sets import write_set
from benchmarks.site import fresh_site, keep_result
from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.key_hashes import KEY_HASHING
from dataharvest.adapters.postgres.sums import weighing_query
from dataharvest.entities import all_entities
from dataharvest.sql import queries

_DELIVERY_ROWS = 300_000
_SMALL_TABLE_ROWS = 100_000
_SMALL = {"portfolios": 10**6 + 1, "clients": 10**6 + 2, "accounts": 10**6 + 3, "transactions": 10**6 + 4}
_PER_ACCOUNT = "SELECT r.account_number, r.amount, r.keyword FROM row_transactions r WHERE r.delivery_id = $1"
_REMOVAL = "DELETE FROM row_transactions WHERE delivery_id = $1"

Questions = dict[str, tuple[str, tuple[Any, ...]]]


def main() -> int:
    """Load and ask; 1 when a whole table was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000_000)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        plans = asyncio.run(_ask(site.stack.environment()["DATAHARVEST_DATABASE_URL"], folder, rows=options.rows))
    full = False
    for name, plan in plans.items():
        whole = [node["Relation Name"] for node in _nodes(plan["Plan"]) if _reads_all_of_much(node)]
        full = full or bool(whole)
        pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        took = f"{plan['Execution Time']:.1f} ms, planned in {plan['Planning Time']:.1f} ms, {pages:,} pages"
        print(f"explain {name}: {took}{', READS ALL OF ' + ', '.join(whole) if whole else ''}")
    keep_result("explains", {"id": "explains", "rows": options.rows, "plans": plans})
    return 1 if full else 0


def _questions() -> Questions:
    small = _SMALL["transactions"]
    weighing = weighing_query(all_entities()["transactions"], key_hash=KEY_HASHING.of(all_entities()["transactions"]))
    portfolios, clients, accounts = (_SMALL[entity] for entity in ("portfolios", "clients", "accounts"))
    return {
        "judging a small delivery": (weighing, (small,)),
        "judging a large delivery": (weighing, (1,)),
        "a batch of a small set": (_PER_ACCOUNT, (small,)),
        "portfolios of a small set": (_whole("portfolios"), (1, portfolios, clients, accounts)),
        "other orphans of a small set": (_whole("others"), (portfolios, accounts, small)),
        "removing a small delivery": (_REMOVAL, (small,)),
        "removing a large delivery": (_REMOVAL, (2,)),
    }


def _whole(name: str) -> str:
    """A statement of relating without the conditions that keep a slice to its blocks."""
    return re.sub(r"\{\w+\}", "", queries("relating")[name])


async def _ask(url: str, folder: Path, *, rows: int) -> dict[str, Any]:
    database = Database(url, pool_size=1, application_name="benchmark")
    async with database.connection() as connection:
        await _load(connection, folder, rows=rows)
        found = {name: await _explained(connection, *question) for name, question in _questions().items()}
    await database.close()
    return found


async def _explained(connection: Connection, query: str, arguments: tuple[Any, ...]) -> Any:
    change = connection.transaction()
    await change.start()
    await connection.execute("SET LOCAL enable_nestloop = off")
    found: str = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
    await change.rollback()
    return json.loads(found)[0]


async def _load(connection: Connection, folder: Path, *, rows: int) -> None:
    large = folder / "large.csv"
    write_transactions(large, rows=_DELIVERY_ROWS)
    content = large.read_bytes()
    small = write_set(folder / "small", portfolios=60, transactions=300)
    deliveries = range(1, rows // _DELIVERY_ROWS + 1)
    for number in deliveries:
        await _copy(connection, "transactions", number, content)
        if number == deliveries[-3]:
            for entity, path in small.files.items():
                await _copy(connection, entity, _SMALL[entity], path.read_bytes())
    await connection.execute("VACUUM ANALYZE")


async def _copy(connection: Connection, entity: str, delivery_id: int, content: bytes) -> None:
    await connection.execute("SELECT set_config('dataharvest.delivery_id', $1, false)", str(delivery_id))
    columns = content.partition(b"\n")[0].decode().split(",")
    await connection.copy_to_table(f"row_{entity}", source=BytesIO(content), columns=columns, format="csv", header=True)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _reads_all_of_much(node: dict[str, Any]) -> bool:
    read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return bool(node["Node Type"] == "Seq Scan" and read > _SMALL_TABLE_ROWS)


if __name__ == "__main__":
    sys.exit(main())
