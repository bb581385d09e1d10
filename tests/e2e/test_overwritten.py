"""An object overwritten while it is read: never mixed, and in the end the second content counts."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.manifests import PostgresManifests
from dataharvest.adapters.postgres.schema import migrate
from dataharvest.adapters.postgres.tenants import PostgresTenants
from dataharvest.adapters.s3 import S3ObjectStore
from dataharvest.ports import Position
from dataharvest.stages.register import register_object
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.split import Splitter
from dataharvest.stages.split_deliveries import SplitLoop
from dataharvest.stages.window import Limits
from tests.conftest import RunWorkers
from tests.e2e.outside import Outside, scratch_database
from tests.e2e.sets import FileSet, latest, make_set
from tests.kills.world import eventually

KEY = "unversioned/transactions_20261123.csv"
HEADER = b"record_id,account_number,transaction_reference,amount,keyword\n"
ONE_READER = {
    # Only four chunks ahead of the ledger, the reader has most of a file of fifty still before it when the first are stored.
    "DATAHARVEST_CHUNKS_IN_FLIGHT": "4",
    # The second content must not overtake the first.
    "DATAHARVEST_SPLIT_CONCURRENCY": "1",
    "DATAHARVEST_SWEEP_INTERVAL_S": "86400",
}
AFTER = HEADER + b"1,A1,T1,2.00,DEPOSIT\n"


def before() -> bytes:
    """Four of the parts in which an object is read."""
    return HEADER + b"".join(b"%d,A%07d,T%09d,1.00,DEPOSIT\n" % (one, one, one) for one in range(1_000_000))


class OverwritingSender(MemorySender):
    """Sends to nobody; ``overwrite`` is called before the first chunk is out."""

    def __init__(self, overwrite: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._overwrite: Callable[[], Awaitable[None]] | None = overwrite

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        if self._overwrite is not None:
            overwrite, self._overwrite = self._overwrite, None
            await overwrite()
        return await super().send(topic, key=key, value=value)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bucket without versions and a ledger of its own, which a splitter works for."""

    bucket: str
    objects: S3ObjectStore
    deliveries: PostgresDeliveries
    database: Database

    async def register(self) -> None:
        """As an event of the key would."""
        assert await register_object(
            KEY,
            bucket=self.bucket,
            objects=self.objects,
            deliveries=self.deliveries,
            manifests=ManifestRegister(self.objects, PostgresManifests(self.database), MemorySender()),
            contracts=PostgresContracts(self.database),
        )

    async def rows(self) -> list[Any]:
        """Deliveries, oldest first."""
        async with self.database.connection() as connection:
            return list(await connection.fetch("SELECT * FROM delivery ORDER BY delivery_id"))

    @asynccontextmanager
    async def splitting(self, sender: MemorySender) -> AsyncIterator[None]:
        """A splitters' loop for the length of a block."""
        splitter = Splitter(
            objects=self.objects,
            deliveries=self.deliveries,
            contracts=PostgresContracts(self.database),
            tenants=PostgresTenants(self.database),
            sender=sender,
            limits=Limits(chunk_count=1000),
            max_content_bytes=1 << 30,
            lease_s=30,
        )
        loop = SplitLoop(splitter=splitter, deliveries=self.deliveries, sender=sender, concurrency=1, stopping=lambda: False)
        task = asyncio.create_task(loop.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def unversioned(environment: dict[str, str]) -> AsyncIterator[Place]:
    outside = Outside(environment)
    bucket = f"unversioned-{uuid4().hex}"
    await asyncio.to_thread(outside.s3.create_bucket, Bucket=bucket)
    async with scratch_database(environment) as url:
        await migrate(url)
        database = Database(url, pool_size=4, application_name="overwritten")
        deliveries = PostgresDeliveries(database, owner="test", chunk_bytes=1 << 20, lease_s=30)
        objects = S3ObjectStore(outside.s3)
        yield Place(bucket=bucket, objects=objects, deliveries=deliveries, database=database)
        objects.close()
        await database.close()


async def test_a_content_that_is_gone_waits_and_its_successor_relieves_it(stack_environment: dict[str, str]) -> None:
    async with unversioned(stack_environment) as place:
        await place.objects.put(place.bucket, KEY, before())
        await place.register()
        sender = OverwritingSender(lambda: place.objects.put(place.bucket, KEY, AFTER))

        async def states(*expected: str) -> None:
            async def reached() -> bool:
                return [one["state"] for one in await place.rows()] == list(expected)

            await eventually(reached, what=f"deliveries {expected}", within_s=30)

        async with place.splitting(sender):
            await states("waiting")
            [waiting] = await place.rows()
            assert waiting["failure"]["rule"] == "object_412"
            assert waiting["next_try_at"] is not None

            await place.register()
            await states("superseded", "sealed")

            async def announced() -> bool:
                return any(json.loads(one.value)["type"] == "delivery_sealed" for one in sender.sent if one.topic == "progress")

            await eventually(announced, what="the seal announced", within_s=30)

        _, successor = await place.rows()
        assert successor["content_sha256"] == hashlib.sha256(AFTER).digest()
        assert successor["chunk_count"] == 1
        told = [json.loads(one.value) for one in sender.sent if one.topic == "progress"]
        assert [one["delivery_id"] for one in told if one["type"] == "delivery_sealed"] == [successor["delivery_id"]]


def padded(content: bytes) -> bytes:
    """The same rows with a column that nobody knows: long, so that it is read in many parts, and quickly stored."""
    header, *lines = content.splitlines()
    return b"\n".join([header + b",padding", *(line + b"," + b"x" * 2000 for line in lines), b""])


async def test_a_version_is_read_to_its_end_and_then_superseded(
    stack_environment: dict[str, str], running_workers: RunWorkers
) -> None:
    outside, first = Outside(stack_environment), make_set("overwritten", transactions=25_000)
    changed = make_set("overwritten", seed="another", transactions=6_000).rows["transactions"]
    second = FileSet(first.tenant, {**first.rows, "transactions": changed})
    body, key = padded(first.file("transactions")), first.object_key("transactions")
    with running_workers(1, **ONE_READER):
        await outside.put_set(first, entities=("accounts", "clients", "portfolios"))
        await outside.put(key, body)
        await outside.until_in_the_middle(first.tenant, chunks=6)
        await outside.put(key, padded(second.file("transactions")))
        await outside.require_reading(first.tenant)
        await outside.published([first.tenant], version=2)

    old, new = [one for one in await outside.deliveries(first.tenant) if one["entity"] == "transactions"]
    assert (old["state"], new["state"]) == ("superseded", "complete")
    assert (old["record_count"], old["persisted_count"]) == (25_000, 25_000)
    assert old["content_sha256"] == hashlib.sha256(body).digest()
    assert new["content_sha256"] == hashlib.sha256(padded(second.file("transactions"))).digest()
    [messages] = (await outside.outbound(first.tenant)).values()
    assert latest(messages) == second.outbound
    outside.s3.close()


async def test_back_to_the_first_content_in_a_bucket_without_versions_publishes_its_values_again(
    stack_environment: dict[str, str], running_workers: RunWorkers
) -> None:
    bucket = f"unversioned-{uuid4().hex}"
    outside, first = Outside({**stack_environment, "DATAHARVEST_S3_BUCKET": bucket}), make_set("to-and-fro")
    changed = make_set("to-and-fro", seed="another").rows["transactions"]
    second = FileSet(first.tenant, {**first.rows, "transactions": changed})
    await asyncio.to_thread(outside.s3.create_bucket, Bucket=bucket)
    with running_workers(1, DATAHARVEST_S3_BUCKET=bucket, DATAHARVEST_CORRECTION_SETTLE_S="0"):
        await outside.put_set(first)
        for version, files in enumerate((first, second, first), start=1):
            if version > 1:
                await outside.put(first.object_key("transactions"), files.file("transactions"))
            await outside.published([first.tenant], version=version)
            [messages] = (await outside.outbound(first.tenant)).values()
            assert latest(messages) == files.outbound

    found = [one for one in await outside.deliveries(first.tenant) if one["entity"] == "transactions"]
    assert [one["state"] for one in found] == ["superseded", "superseded", "complete"]
    assert [one["version_id"] for one in found] == [None] * 3
    outside.s3.close()
