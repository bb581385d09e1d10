"""A stack of its own with a schema and topics, workers on it, a witness beside it."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from dataharvest.stack import Stack
from tests.kills.ledger import GONE
from tests.kills.sets import ENTITIES, FileSet
from tests.kills.witness import Violations, Witness
from tests.kills.workers import Crew
from tests.programs import run_program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
_LINES = 40

# Few bytes make many chunks; no sweep helps; dead members and dead splitters are replaced quickly.
WORKER_SETTINGS = {
    "DATAHARVEST_CHUNK_BYTES": "2048",
    "DATAHARVEST_SWEEP_INTERVAL_S": "86400",
    "DATAHARVEST_LEASE_S": "4",
    "DATAHARVEST_SESSION_TIMEOUT_S": "6",
    "DATAHARVEST_LOG_FORMAT": "json",
    # A worker that hangs says where, before anybody loses patience; its end is a violation.
    "DATAHARVEST_WATCHDOG_S": "60",
}


class NotInTime(Exception):
    """Something did not happen before its deadline."""


class World:
    """Everything a round needs; made by ``world``."""

    def __init__(self, stack: Stack, witness: Witness) -> None:
        self.stack = stack
        self.environment = {**stack.environment(), "DATAHARVEST_HOME": str(stack.home.path), **WORKER_SETTINGS}
        self.crew = Crew(home=stack.home.path, environment=self.environment)
        self.witness = witness

    async def run(self, *words: str) -> str:
        """Run one of the program's commands as a user would; what it prints."""
        done = await asyncio.to_thread(run_program, *words, environment=self.environment, check=True)
        return done.stdout

    async def upload(self, sets: Collection[FileSet]) -> None:
        """Put the files of all sets into the bucket, in turn, and wait until each has its event on Kafka."""
        for one in sets:
            self.witness.sets[one.tenant] = one
        await asyncio.to_thread(self._put, sets)
        keys = {one.object_key(entity) for one in sets for entity in ENTITIES}

        async def all_announced() -> bool:
            return keys <= self.witness.announced

        await eventually(all_announced, what="events of all uploads", within_s=60)

    def s3(self) -> "S3Client":
        """A client of the sender's own; to be closed."""
        settings = self.environment
        return boto3.client(
            "s3",
            endpoint_url=settings["DATAHARVEST_S3_ENDPOINT_URL"],
            aws_access_key_id=settings["DATAHARVEST_S3_ACCESS_KEY"],
            aws_secret_access_key=settings["DATAHARVEST_S3_SECRET_KEY"],
            region_name=settings["DATAHARVEST_S3_REGION"],
        )

    def _put(self, sets: Collection[FileSet]) -> None:
        client, bucket = self.s3(), self.environment["DATAHARVEST_S3_BUCKET"]
        for entity in ENTITIES:
            for one in sets:
                client.put_object(Bucket=bucket, Key=one.object_key(entity), Body=one.file(entity))
        client.close()

    async def kill_service(self, name: str) -> None:
        """End ``kafka`` or ``postgres`` as a crash would."""
        await asyncio.to_thread(self.stack.service(name).kill)

    async def start_service(self, name: str) -> None:
        """Start it again; returns when it works."""
        await asyncio.to_thread(self.stack.service(name).start)

    async def stored_record_count(self, sets: Collection[FileSet]) -> int | None:
        """Records of these sets in the ledger; None while PostgreSQL is down."""
        try:
            return await self.witness.ledger.stored_record_count([one.tenant for one in sets])
        except GONE:
            return None

    async def settled(self, sets: Collection[FileSet], *, within_s: float = 120) -> None:
        """Wait until all sets are published and all their messages were seen; late ones are violations."""
        tenants = [one.tenant for one in sets]

        async def all_published() -> bool:
            return len(await self.witness.ledger.published(tenants)) == len(tenants)

        async def all_seen() -> bool:
            return all(self._message_count(one) for one in sets)

        try:
            await eventually(all_published, what="all sets published", within_s=within_s)
            await eventually(all_seen, what="all messages seen", within_s=10)
        except NotInTime as late:
            self.witness.violations.other.add(str(late))
            await self._tell_where_all_stand()

    async def _tell_where_all_stand(self) -> None:
        """Print what a hang can be understood by; services and logs are gone after the test."""
        for place, (committed, end) in sorted((await self.witness.behind()).items()):
            print(f"{place.topic} {place.partition}: committed {committed}, end {end}")
        for worker in self.crew.members:
            lines = worker.log.read_text(errors="replace").splitlines()[-_LINES:]
            print(f"--- the last lines of {worker.log.name}", *lines, sep="\n")

    def _message_count(self, one: FileSet) -> bool:
        found = self.witness.contents(one.tenant)
        return all(found[topic].keys() >= expected.keys() for topic, expected in one.outbound.items())


async def eventually(condition: Callable[[], Awaitable[bool]], *, what: str, within_s: float) -> None:
    """Wait for the condition; NotInTime when it does not come true."""
    began = time.monotonic()
    while not await condition():
        waited_s = time.monotonic() - began
        if waited_s > within_s:
            raise NotInTime(f"not within {within_s:g} s: {what}")
        # Conditions connect anew each time; asked too often they would keep a core from what they wait for.
        await asyncio.sleep(min(max(SHORTEST_PAUSE_S, waited_s / 10), LONGEST_PAUSE_S))


@asynccontextmanager
async def world(*, home: Path | None = None, stack_at: Callable[[Path], Stack] = Stack) -> AsyncIterator[World]:
    """A fresh stack, prepared and watched; removed afterwards unless ``home`` is given."""
    folder = home or Path(tempfile.mkdtemp(prefix="dh-kills-"))
    stack = stack_at(folder)
    await asyncio.to_thread(stack.up)
    try:
        made = World(stack, _witness(stack))
        for words in (("migrate",), ("topics", "apply")):
            await made.run(*words)
        async with made.witness.watching():
            try:
                yield made
            finally:
                await made.crew.end_all()
    finally:
        if home is None:
            await asyncio.to_thread(stack.erase)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            await asyncio.to_thread(stack.down)


def _witness(stack: Stack) -> Witness:
    settings = stack.environment()
    broker, url = settings["DATAHARVEST_BROKER"], settings["DATAHARVEST_DATABASE_URL"]
    return Witness(broker=broker, database_url=url, violations=Violations())
