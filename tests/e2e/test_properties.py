"""Seeded sequences of uploads on the real services, with workers killed meanwhile: every set ends as the oracle says."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from dataharvest.adapters.s3 import S3ObjectStore, s3_client
from dataharvest.status import StatusReport
from dataharvest.topics import load_topics
from tests.conftest import Command, RunWorkers
from tests.kills.sets import ENTITIES
from tests.properties import events as ev
from tests.properties.contents import FAULTS, VARIANTS
from tests.properties.oracle import Place
from tests.properties.received import Message, complaints, held
from tests.properties.sending import Senders

SEED = 4
TENANTS = [f"property-{number}" for number in range(12)]
DAYS = ("2026-11-23", "2026-11-24")
LENGTH = 6
WAIT_S = 90
SETTINGS = {
    "DATAHARVEST_CORRECTION_SETTLE_S": "0.5",
    "DATAHARVEST_CHUNK_BYTES": "120",
    "DATAHARVEST_SWEEP_INTERVAL_S": "3",
    "DATAHARVEST_SESSION_TIMEOUT_S": "6",
    "DATAHARVEST_LEASE_S": "4",
}
_KNOWN = "SELECT (SELECT count(*) FROM delivery WHERE object_key = $1) + (SELECT count(*) FROM manifest WHERE object_key = $1)"


def sequence(chance: random.Random) -> Iterator[ev.Sending]:
    """What a tenant sends for its two dates, in order."""
    yield ev.UploadAll(0)
    if chance.random() < 0.5:
        yield ev.UploadAll(1)
    for _ in range(LENGTH):
        place, entity = chance.randrange(2), chance.choice(ENTITIES)
        variant = chance.randrange(VARIANTS)
        entities = tuple(chance.sample(ENTITIES, 2))
        choices: list[ev.Sending] = [
            ev.Upload(place, entity, variant),
            ev.Upload(place, entity, variant, other_key=True),
            ev.Upload(place, entity, 0),
            ev.Upload(place, entity, variant, chance.choice(FAULTS)),
            ev.Again(place, entity),
            ev.ManifestComes(place, entities, chance.choice(("true", "false", "unreadable"))),
        ]
        yield chance.choice(choices)


@dataclass
class Site:
    """The bucket and the events that lead from it."""

    environment: dict[str, str]
    store: S3ObjectStore
    producer: AIOKafkaProducer
    pool: asyncpg.Pool

    async def put(self, key: str, data: bytes) -> None:
        """Put an object, and wait until the next may be put without hiding this one."""
        await self._later_than_its_twin(key)
        before = await self.pool.fetchval(_KNOWN, key)
        await self.store.put(self.environment["DATAHARVEST_S3_BUCKET"], key, data)
        async with asyncio.timeout(WAIT_S):
            while await self.pool.fetchval(_KNOWN, key) == before:
                await asyncio.sleep(0.1)

    async def _later_than_its_twin(self, key: str) -> None:
        """Object stores keep whole seconds; within one, the key decides which of two files is the newer."""
        twin = key.removesuffix(".gz") if key.endswith(".gz") else f"{key}.gz"
        found = await self.store.head(self.environment["DATAHARVEST_S3_BUCKET"], twin)
        while found and datetime.now(UTC) < found.last_modified + timedelta(seconds=1):
            await asyncio.sleep(0.1)

    async def tell_again(self, key: str) -> None:
        """Let the event of an object come once more."""
        bucket = self.environment["DATAHARVEST_S3_BUCKET"]
        event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}
        await self.producer.send_and_wait("uploads", json.dumps(event).encode(), key=key.encode())


@asynccontextmanager
async def site(environment: dict[str, str]) -> AsyncIterator[Site]:
    client = s3_client(
        endpoint_url=environment["DATAHARVEST_S3_ENDPOINT_URL"],
        access_key=environment["DATAHARVEST_S3_ACCESS_KEY"],
        secret_key=environment["DATAHARVEST_S3_SECRET_KEY"],
        region=environment["DATAHARVEST_S3_REGION"],
    )
    store = S3ObjectStore(client)
    producer = AIOKafkaProducer(bootstrap_servers=environment["DATAHARVEST_BROKER"])
    await producer.start()
    try:
        async with asyncpg.create_pool(environment["DATAHARVEST_DATABASE_URL"], min_size=1, max_size=4) as pool:
            yield Site(environment, store, producer, pool)
    finally:
        await producer.stop()
        store.close()


async def play(tenant: str, found: Site) -> Senders:
    """One tenant's sequence; what it sent."""
    chance = random.Random(f"{SEED} {tenant}")

    async def put(key: str, data: bytes) -> None:
        await found.put(key, data)
        senders.oracle.look(key)

    senders = Senders([Place(tenant, day) for day in DAYS], put)
    for event in sequence(chance):
        await senders.send(event)
        if chance.random() < 0.4:
            await found.tell_again(chance.choice(list(senders.oracle.bucket)))
        await asyncio.sleep(chance.choice((0, 0, 0.3, 1, 2)))
    return senders


async def kill_workers(running_workers: RunWorkers, stack: ExitStack, chance: random.Random) -> None:
    """Two workers; again and again one is killed and another begins."""
    workers = await asyncio.to_thread(stack.enter_context, running_workers(2, **SETTINGS))
    for _ in range(3):
        await asyncio.sleep(chance.uniform(2, 5))
        await asyncio.to_thread(workers.pop(0).kill)
        workers += await asyncio.to_thread(stack.enter_context, running_workers(1, **SETTINGS))


async def messages_of(broker: str) -> list[Message]:
    """Everything downstream has received of these tenants, each key in order."""
    topics = {name: load_topics()[name].partitions for name in ("outbound.clients", "outbound.portfolios")}
    places = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Message] = []
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(one.topic, one.key, one.value) for one in records]
    finally:
        await consumer.stop()
    return [one for one in found if one[1].decode().partition("|")[0] in TENANTS]


def differences(all_senders: list[Senders], messages: list[Message], report: StatusReport) -> list[str]:
    """Where it is not as the oracle says."""
    values, found = held(messages), complaints(messages)
    states = {Place(one.tenant, one.business_date.isoformat()): one for one in report.sets}
    for place, known in (item for senders in all_senders for item in senders.oracle.sets.items()):
        mine = values.get(place, {})
        expected, actual = known.state(published=bool(mine)), states[place]
        if actual.state.value != expected:
            found.append(f"{place} is {actual.state} ({actual.reason}) instead of {expected}")
        if mine not in known.possible():
            found.append(f"{place}, {expected}, holds what was never there: {mine}")
        counts = actual.counts
        if counts.read != counts.persisted + counts.quarantined + counts.duplicate + counts.accepted:
            found.append(f"{place} does not add up: {counts}")
        if counts.read != sum(content.record_count for content in known.newest().values()):
            found.append(f"{place} has read {counts}")
    return found


@pytest.mark.timeout(240)
async def test_sequences_with_killed_workers_end_as_the_oracle_says(
    stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command
) -> None:
    print(f"seed {SEED}")
    # Others' poison is in the same stack.
    before = StatusReport.model_validate_json(dataharvest("status", "--json").stdout).dead_letter_count
    with ExitStack() as stack:
        async with site(stack_environment) as found:
            killing = asyncio.create_task(kill_workers(running_workers, stack, random.Random(SEED)))
            all_senders = await asyncio.gather(*(play(tenant, found) for tenant in TENANTS))
            await killing
            wrong = ["not looked yet"]
            async with asyncio.timeout(WAIT_S):
                while wrong:
                    answer = await asyncio.to_thread(dataharvest, "status", "--json")
                    report = StatusReport.model_validate_json(answer.stdout)
                    wrong = differences(all_senders, await messages_of(stack_environment["DATAHARVEST_BROKER"]), report)
                    print("\n".join(wrong) or "as the oracle says", flush=True)
            assert report.dead_letter_count == before
