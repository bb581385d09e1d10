"""A stack that belongs to one test module, for what would disturb the others: offsets set back, topics cut short, other code."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

from dataharvest.adapters.kafka_admin import apply, existing_topics
from dataharvest.adapters.kafka_log import KafkaLog
from dataharvest.adapters.kafka_offsets import KafkaOffsets
from dataharvest.adapters.postgres.schema import migrate
from dataharvest.harvest.workers import member_count
from dataharvest.stack import Stack
from dataharvest.topics import difference, load_topics
from tests.e2e.outside import GROUP, Outside
from tests.kills.workers import Worker
from tests.kills.world import eventually
from tests.programs import PROGRAM, run_program

CONSUMED = ("uploads", "chunks", "progress", "readiness", "work", "notifications")
STORED = (
    *("delivery", "chunk", "quarantine", "duplicate_key", "set_version", "set_version_delivery", "fact", "readiness", "batch"),
    *("link", "value", "outbound", "row_accounts", "row_clients", "row_portfolios", "row_transactions"),
)
WORKER = {"DATAHARVEST_CORRECTION_SETTLE_S": "0.5", "DATAHARVEST_SWEEP_INTERVAL_S": "86400", "DATAHARVEST_SESSION_TIMEOUT_S": "6"}
_numbers = count()


class Site(Outside):
    """The stack from outside, its commands and its workers."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        super().__init__({**environment, "DATAHARVEST_HOME": str(home)})
        self._home = home

    async def run(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """A command of the program, to its end."""
        return await asyncio.to_thread(run_program, *words, environment={"DATAHARVEST_HOME": str(self._home), **variables})

    async def run_through_faust(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The same, called as a command of Faust's own program."""
        command = [str(Path(PROGRAM).with_name("faust")), "-A", "dataharvest", *words]
        environment = {**os.environ, "DATAHARVEST_HOME": str(self._home)}
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def start(self, *words: str, **variables: str) -> Worker:
        """A command of the program, on its way."""
        log = self._home / "logs" / f"test-{next(_numbers)}.log"
        return Worker(environment={**self.environment, **WORKER, **variables}, log=log, words=words)

    @asynccontextmanager
    async def workers(self, worker_count: int, **variables: str) -> AsyncIterator[list[Worker]]:
        """Workers that have joined the group, ended with the block."""

        async def nobody() -> bool:
            return await member_count(self.broker, GROUP) == 0

        # One that was killed counts for some seconds more, and must not be taken for one of these.
        await eventually(nobody, what="an empty group", within_s=30)
        found = [self.start("worker", **variables) for _ in range(worker_count)]

        async def joined() -> bool:
            assert all(one.is_alive for one in found), found[0].log.read_text()[-2000:]
            return await member_count(self.broker, GROUP) == worker_count

        try:
            await eventually(joined, what="workers in the group", within_s=90)
            yield found
        finally:
            for one in found:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, 15)

            async def gone() -> bool:
                return not any(one.is_alive for one in found)

            await eventually(gone, what="workers ended", within_s=30)

    async def settled(self) -> None:
        """Wait until the group has read everything."""
        offsets = KafkaOffsets(self.broker, group=GROUP, log=KafkaLog(self.broker))

        async def all_read() -> bool:
            return not any(one.lag for one in await offsets.positions(CONSUMED))

        await eventually(all_read, what="everything read", within_s=120)

    async def stored(self) -> dict[str, list[str]]:
        """Every row of the journey as text, by table."""
        texts = {table: await self.query(f"SELECT t::text FROM {table} t ORDER BY 1") for table in STORED}
        return {table: [row[0] for row in rows] for table, rows in texts.items()}

    async def outbound_count(self) -> int:
        """Messages that ever left."""
        return sum([len(await self.records(f"outbound.{kind}")) for kind in ("clients", "portfolios")])


@asynccontextmanager
async def site(home: Path) -> AsyncIterator[Site]:
    """A fresh stack with schema and topics; erased afterwards."""
    stack = Stack(home)
    await asyncio.to_thread(stack.up)
    try:
        made = Site(home, stack.environment())
        await migrate(made.environment["DATAHARVEST_DATABASE_URL"])
        await apply(made.broker, difference(load_topics().values(), await existing_topics(made.broker)))
        yield made
        made.s3.close()
    finally:
        await asyncio.to_thread(stack.erase)
