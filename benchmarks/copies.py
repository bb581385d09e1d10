"""How long the steps take in which a delivery with copies of natural keys is judged.

``python -m benchmarks.copies [--rows 10000000] [--copies 4 100000] [--rules reject] [--place end]`` prints a line for each case,
and writes ``benchmarks/results/copies.json``. The copies are of records all over the file, and stand at its end or right behind
what they are copies of. In brackets are seconds of the processor, the session's and the worker's. What is counted in the end is
compared with the file.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import psutil

from benchmarks.generator import write_transactions
from benchmarks.site import fresh_site, keep_result
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.messages import Judgement
from dataharvest.objects import ObjectVersion
from dataharvest.stages.judge import Judge

_COLUMNS = ["record_id", "account_number", "transaction_reference", "amount", "keyword"]
_CHUNK_BYTES = 1 << 20
_KEY = "bench/transactions_20260102.csv"
_DELIVERY = """
INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes, state,
                      chunk_bytes, splitter_version, content_start, content_end, persisted_count)
VALUES ('bench', '2026-01-02', 'transactions', 'b', $1, $2, '', now(), $3, 'judging', 1, 1, $4, $3, $5) RETURNING delivery_id
"""
_CHUNK = """
INSERT INTO chunk (delivery_id, chunk_index, tenant, byte_offset, byte_length, first_line, sha256, record_count, persisted_count,
                   quarantined_count, topic_partition, topic_offset)
VALUES ($1, $2, 'bench', $3, $4, $5, $6, $7, $7, 0, 0, 0)
"""
_COUNTS = """
SELECT persisted_count, quarantined_count, duplicate_count FROM delivery WHERE delivery_id = $1 AND state = 'complete'
"""
_ROWS = """
SELECT count(*), sum(amount) = (SELECT (sums ->> 'amount')::numeric FROM delivery WHERE delivery_id = $1)
FROM row_transactions WHERE delivery_id = $1
"""


@dataclass(frozen=True)
class _Case:
    rows: int
    copies: int
    rule: DuplicateRule
    place: str

    @property
    def expected(self) -> tuple[int, int, int]:
        """Persisted, quarantined and dropped in the end."""
        if self.rule == "reject":
            return self.rows - self.copies, 2 * self.copies, 0
        return self.rows, 0, self.copies


class _File(MemoryObjectStore):
    """An object store that holds one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(versioned=False)
        self._path = path

    async def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(start)
            while part := file.read(part_bytes):
                yield part


def main() -> int:
    """Run the cases; 1 when a judgement was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--copies", type=int, nargs="+", default=[4, 100_000])
    parser.add_argument("--rules", nargs="+", default=["reject"])
    parser.add_argument("--place", choices=["end", "beside"], default="end")
    options = parser.parse_args()
    cases = [_Case(options.rows, copies, rule, options.place) for copies in options.copies for rule in options.rules]
    with fresh_site() as (site, folder):
        url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
        results = [asyncio.run(_measure(url, folder, case)) for case in cases]
    keep_result("copies", results)
    return 0


async def _measure(url: str, folder: Path, case: _Case) -> dict[str, object]:
    database = Database(url, pool_size=1, application_name="benchmark")
    path = _write(folder, case)
    delivery_id = await _load(database, path, rows=case.rows + case.copies)
    steps = await _judge(database, path, delivery_id, case)
    await _require_expected(database, delivery_id, case)
    await database.close()
    longest, last = max(steps), steps[-1]
    most = max(spent for _, spent in steps)
    print(
        f"copies: {case.copies:,} of {case.rows:,} rows ({case.place}, {case.rule}): {len(steps)} steps, "
        f"{sum(seconds for seconds, _ in steps):.1f} s ({sum(spent for _, spent in steps):.1f}), "
        f"longest {longest[0]:.2f} s ({longest[1]:.2f}), most of the processor {most:.2f} s, "
        f"last {last[0]:.2f} s ({last[1]:.2f})",
        flush=True,
    )
    return {"id": "copies", **vars(case), "seconds_and_processor_seconds_of_steps": steps}


def _write(folder: Path, case: _Case) -> Path:
    path = folder / "transactions.csv"
    clean = folder / "clean.csv"
    write_transactions(clean, rows=case.rows)
    every = max(1, case.rows // case.copies)
    copied: list[str] = []
    with clean.open() as source, path.open("w") as target:
        target.write(next(source))
        for number, line in enumerate(source):
            target.write(line)
            if number % every == 0 and len(copied) < case.copies:
                copied.append(line)
                if case.place == "beside":
                    target.write(line)
        if case.place == "end":
            target.writelines(copied)
    return path


async def _load(database: Database, path: Path, *, rows: int) -> int:
    async with database.connection() as connection:
        await connection.execute("TRUNCATE row_transactions")
    with path.open("rb") as file:
        start = len(file.readline())
    end = path.stat().st_size
    async with database.connection() as connection:
        delivery_id: int = await connection.fetchval(_DELIVERY, _KEY, f"{time.time()}", end, start, rows)
    for index, (offset, line, data) in enumerate(_chunks(path, start)):
        async with database.transaction() as connection:
            await connection.fetchval("SELECT set_config('dataharvest.delivery_id', $1, true)", str(delivery_id))
            await connection.copy_to_table("row_transactions", source=BytesIO(data), columns=_COLUMNS, format="csv")
            place = delivery_id, index, offset, len(data), line
            await connection.execute(_CHUNK, *place, sha256(data).digest(), data.count(b"\n"))
    return delivery_id


def _chunks(path: Path, start: int) -> Iterator[tuple[int, int, bytes]]:
    line = 2
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(_CHUNK_BYTES):
            data += file.readline()
            yield file.tell() - len(data), line, data
            line += data.count(b"\n")


async def _judge(database: Database, path: Path, delivery_id: int, case: _Case) -> list[tuple[float, float]]:
    """Seconds of each step, and those of the processor."""
    async with database.connection() as connection:
        session = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))

    async def contract_of(tenant: str, version: int) -> Contract:
        return Contract(duplicates=case.rule)

    deliveries, sender = PostgresDeliveries(database, owner="benchmark", chunk_bytes=1, lease_s=60), MemorySender()
    judge = Judge(PostgresJudgements(database), deliveries, _File(path), sender, contract_of)
    message = Judgement(tenant="bench", business_date=date(2026, 1, 2), delivery_id=delivery_id, entity="transactions")
    steps = []
    while not sender.sent or sender.sent[-1].topic == "work":
        started, spent = time.perf_counter(), _spent(session)
        await judge.judge(message)
        steps.append((round(time.perf_counter() - started, 3), round(_spent(session) - spent, 3)))
    return steps


def _spent(session: psutil.Process) -> float:
    times = session.cpu_times()
    return time.process_time() + times.user + times.system


async def _require_expected(database: Database, delivery_id: int, case: _Case) -> None:
    async with database.connection() as connection:
        counted = await connection.fetchrow(_COUNTS, delivery_id)
        there = await connection.fetchrow(_ROWS, delivery_id)
    if counted is None or tuple(counted) != case.expected or there is None or tuple(there) != (case.expected[0], True):
        sys.exit(f"copies FAIL: {counted} and {there} instead of {case.expected}")


if __name__ == "__main__":
    sys.exit(main())
