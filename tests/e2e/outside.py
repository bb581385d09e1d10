"""The journey from outside: what a sender and a receiver can do, and what the ledger says meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from dataharvest.adapters.s3 import s3_client
from dataharvest.errors import Rejected
from dataharvest.harvest.workers import member_count
from dataharvest.rules.events import objects_in
from dataharvest.topics import load_topics
from tests.e2e.sets import ENTITIES, FileSet, Message
from tests.kills.world import eventually

GROUP = "dataharvest"
WAIT_S = 60

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"


class Outside:
    """One stack; every call connects anew, so it works from any test's loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.broker = environment["DATAHARVEST_BROKER"]
        self.bucket = environment["DATAHARVEST_S3_BUCKET"]
        self.s3 = s3_client(
            endpoint_url=environment["DATAHARVEST_S3_ENDPOINT_URL"],
            access_key=environment["DATAHARVEST_S3_ACCESS_KEY"],
            secret_key=environment["DATAHARVEST_S3_SECRET_KEY"],
            region=environment["DATAHARVEST_S3_REGION"],
        )

    async def put(self, key: str, body: bytes) -> None:
        """Upload one object."""
        await asyncio.to_thread(self.s3.put_object, Bucket=self.bucket, Key=key, Body=body)

    async def put_set(self, files: FileSet, *, entities: Iterable[str] = ENTITIES) -> None:
        """Upload files of a set, one after the other."""
        for entity in entities:
            await self.put(files.object_key(entity), files.file(entity))

    async def query(self, statement: str, *arguments: Any) -> list[Any]:
        """Rows of a query."""
        connection = await asyncpg.connect(self.environment["DATAHARVEST_DATABASE_URL"])
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def one(self, statement: str, *arguments: Any) -> Any:
        """The only cell of the only row."""
        [[cell]] = await self.query(statement, *arguments)
        return cell

    async def deliveries(self, *tenants: str) -> list[Any]:
        """Delivery rows of the tenants, oldest first."""
        return await self.query("SELECT * FROM delivery WHERE tenant = ANY($1) ORDER BY delivery_id", list(tenants))

    async def stored_chunk_count(self, tenant: str) -> int:
        """Chunks of the tenant in the ledger."""
        return int(await self.one("SELECT count(*) FROM chunk WHERE tenant = $1", tenant))

    async def until_in_the_middle(self, tenant: str, *, chunks: int) -> None:
        """Wait for that many chunks; an AssertionError when the transactions have been read to their end by then."""

        async def begun() -> bool:
            return await self.stored_chunk_count(tenant) >= chunks

        await eventually(begun, what=f"{chunks} chunks of {tenant} stored", within_s=WAIT_S)
        await self.require_reading(tenant)

    async def require_reading(self, tenant: str) -> None:
        """An AssertionError unless the tenant's transactions are being read."""
        states = [one["state"] for one in await self.deliveries(tenant) if one["entity"] == "transactions"]
        assert states[0] == "splitting", "too late to be in the middle: the file is too short"

    async def published(self, tenants: Collection[str], *, version: int = 1, within_s: float = WAIT_S) -> None:
        """Wait until the version of every tenant's set is published."""
        query = "SELECT count(*) FROM set_version WHERE tenant = ANY($1) AND version = $2 AND state = 'published'"

        async def all_published() -> bool:
            return bool(await self.one(query, list(tenants), version) == len(tenants))

        await eventually(all_published, what=f"version {version} of {tenants} published", within_s=within_s)

    async def completed(self, tenants: Collection[str], *, count: int, within_s: float = WAIT_S) -> None:
        """Wait until that many deliveries of the tenants are stored completely."""

        async def all_complete() -> bool:
            return [one["state"] for one in await self.deliveries(*tenants)] == ["complete"] * count

        await eventually(all_complete, what=f"{count} deliveries of {tenants} complete", within_s=within_s)

    async def outbound(self, *tenants: str) -> dict[str, list[Message]]:
        """Every message that was ever sent for the tenants, repeats included, in order of topic, key and version."""
        found: dict[str, list[Message]] = {tenant: [] for tenant in tenants}
        for topic in ("outbound.clients", "outbound.portfolios"):
            for record in await self.records(topic):
                assert record.key and record.value
                value = json.loads(record.value)
                if value["tenant"] in found:
                    found[value["tenant"]].append(Message(topic=topic, key=record.key.decode(), value=value))
        for messages in found.values():
            messages.sort(key=lambda one: (one.topic, one.key, one.value["version"]))
        return found

    async def records(self, topic: str) -> list[Raw]:
        """Everything the topic holds now."""
        async with self._reading(topic) as (consumer, ends):
            found: list[Raw] = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return [one for one in found if one.offset < ends[TopicPartition(one.topic, one.partition)]]

    async def send_event(self, value: bytes, *, partition: int | None = None) -> tuple[int, int]:
        """Put a notification on ``uploads``; its partition and offset."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker)
        await producer.start()
        try:
            sent = await producer.send_and_wait("uploads", value, partition=partition)
        finally:
            await producer.stop()
        return sent.partition, sent.offset

    async def events_handled(self) -> None:
        """Wait until every notification sent so far is acknowledged."""
        await self.all_read("uploads")

    async def all_read(self, topic: str) -> None:
        """Wait until the workers have acknowledged everything that the topic holds now."""
        async with self._reading(topic) as (_, ends):
            pass

        async def all_committed() -> bool:
            committed = await self._committed()
            return all(committed.get(place, 0) >= end for place, end in ends.items())

        await eventually(all_committed, what=f"everything on {topic} acknowledged", within_s=WAIT_S)

    async def lose_events(self, keys: Collection[str]) -> None:
        """Make the group, once it has no member, forget every notification it has not read; of these objects all have come."""

        async def nobody() -> bool:
            return await member_count(self.broker, GROUP) == 0

        async def all_announced() -> bool:
            return set(keys) <= {key for one in await self.records("uploads") for key in _keys_in(one.value)}

        await eventually(nobody, what="an empty group", within_s=WAIT_S)
        # The server answers an upload before its notification is in Kafka.
        await eventually(all_announced, what="events of all uploads", within_s=WAIT_S)
        async with self._reading("uploads", group_id=GROUP, enable_auto_commit=False) as (consumer, ends):
            await consumer.commit({place: OffsetAndMetadata(end, "") for place, end in ends.items()})

    @asynccontextmanager
    async def _reading(self, topic: str, **settings: Any) -> AsyncIterator[tuple[AIOKafkaConsumer, dict[TopicPartition, int]]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker, auto_offset_reset="earliest", **settings)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(load_topics()[topic].partitions)]
            consumer.assign(partitions)
            yield consumer, await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()

    async def _committed(self) -> dict[TopicPartition, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(GROUP)
        finally:
            await admin.close()
        return {place: one.offset for place, one in offsets.items()}


def _keys_in(event: bytes | None) -> set[str]:
    """Keys that a notification may mean; none when it is one of those that nobody can read."""
    try:
        return {key for one in objects_in(event or b"") for key in one.keys}
    except Rejected:
        return set()


@asynccontextmanager
async def scratch_database(environment: Mapping[str, str]) -> AsyncIterator[str]:
    """The address of an empty database on the stack's server, for the length of a block."""
    server, name = environment["DATAHARVEST_DATABASE_URL"], f"scratch_{uuid4().hex}"
    await execute(server, f"CREATE DATABASE {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url: str, statement: str) -> None:
    """Run one statement."""
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
