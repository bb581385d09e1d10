"""A sweep every second while a large file is loaded: how many chunks are sent again, by the broker's own offsets.

``python -m benchmarks.swept_load [--megabytes 1000] [--workers 1]`` prints one line and writes
``benchmarks/results/swept_load.json``. Void (exit 2) when fewer sweeps were seen than one in five seconds of the load: the second
is the pause between two sweeps, and on a busy machine each takes more than that.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.generator import Oracle, write_transactions
from benchmarks.site import fresh_site, keep_result, upload
from dataharvest.topics import load_topics

EVERY_SECOND = {"DATAHARVEST_SWEEP_INTERVAL_S": "1"}
"""What the workers' environment needs."""
_ROW_BYTES = 48
"""About as long as a row of the generator is; the file is written until it is long enough."""
_LOOK_AT_SWEEPS_S, _LOOK_AT_LOAD_S, _LONGEST_LOAD_S = 0.005, 0.25, 3600.0
_LONGEST_BETWEEN_SWEEPS_S = 5.0
_SWEEPING = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
                              AND objid::bigint = hashtext('dataharvest sweep')::bigint & 4294967295)"""
_DONE = "SELECT chunk_count, persisted_count FROM delivery WHERE tenant = $1 AND state = 'complete'"


@dataclass(frozen=True)
class SweptLoad:
    """One file loaded under sweeps."""

    megabytes: float
    seconds: float
    """From the end of the upload to the delivery's completion."""
    sweep_count: int
    """Sweeps that were seen at work; there may have been more."""
    chunk_count: int
    sent_count: int
    """Messages that the topic got meanwhile."""

    @property
    def sent_again(self) -> int:
        """Chunks that were sent more than once."""
        return self.sent_count - self.chunk_count

    @property
    def is_void(self) -> bool:
        """Whether too few sweeps were seen to prove anything."""
        return self.sweep_count < max(1, self.seconds / _LONGEST_BETWEEN_SWEEPS_S)


async def load_under_sweeps(environment: Mapping[str, str], path: Path, oracle: Oracle, *, tenant: str) -> SweptLoad:
    """Upload the file and watch until it is stored completely; the workers are running, and nothing else is being loaded.

    Args:
        environment: addresses of the services, as the workers have them.
        path: a transactions file.
        oracle: what it holds.
        tenant: who sends it.
    """
    before = await _message_count(environment)
    connection = await asyncpg.connect(environment["DATAHARVEST_DATABASE_URL"])
    watcher = await asyncpg.connect(environment["DATAHARVEST_DATABASE_URL"])
    sweeps = SweepCount()
    watching = asyncio.create_task(sweeps.watch(watcher))
    try:
        await asyncio.to_thread(upload, environment, path, f"{tenant}/{path.name}")
        began = time.monotonic()
        async with asyncio.timeout(_LONGEST_LOAD_S):
            while (found := await connection.fetchrow(_DONE, tenant)) is None:
                await asyncio.sleep(_LOOK_AT_LOAD_S)
        seconds = time.monotonic() - began
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()
        await watcher.close()
    assert found["persisted_count"] == oracle.rows, f"{found['persisted_count']} rows stored, the file has {oracle.rows}"
    sent = await _message_count(environment) - before
    return SweptLoad(path.stat().st_size / 1e6, seconds, sweeps.count, found["chunk_count"], sent)


class SweepCount:
    """Counts the sweeps by the lock that each of them holds."""

    def __init__(self) -> None:
        self.count = 0

    async def watch(self, connection: "asyncpg.Connection") -> None:
        """Look at the lock again and again."""
        was_held = False
        while True:
            is_held = await connection.fetchval(_SWEEPING)
            self.count += is_held and not was_held
            was_held = is_held
            await asyncio.sleep(_LOOK_AT_SWEEPS_S)


async def _message_count(environment: Mapping[str, str]) -> int:
    places = [TopicPartition("chunks", number) for number in range(load_topics()["chunks"].partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=environment["DATAHARVEST_BROKER"])
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(places)).values())
    finally:
        await consumer.stop()


def main() -> int:
    """Load one file; 1 when a chunk was sent again, 2 when the run is void."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        path = folder / "transactions_20260102.csv"
        oracle = write_transactions(path, rows=options.megabytes * 1_000_000 // _ROW_BYTES)
        with site.workers(options.workers, **EVERY_SECOND):
            environment = {**os.environ, **site.stack.environment()}
            found = asyncio.run(load_under_sweeps(environment, path, oracle, tenant="swept"))
    return _report(found)


def _report(found: SweptLoad) -> int:
    print(
        f"swept load: {found.sent_again} of {found.chunk_count} chunks sent again "
        f"({found.megabytes:,.0f} MB in {found.seconds:.1f} s, {found.sweep_count} sweeps seen)"
    )
    result = {"id": "swept_load", **asdict(found), "sent_again": found.sent_again}
    keep_result("swept_load", result)
    if found.is_void:
        print("void: too few sweeps were seen")
        return 2
    return 1 if found.sent_again else 0


if __name__ == "__main__":
    sys.exit(main())
