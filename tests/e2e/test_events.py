"""What S3 servers tell: events of every shape, events that say nothing, too early or in vain, and events that never came."""

import asyncio
import base64
import gzip
import json
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
import zstandard

from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import ENTITIES, FileSet, make_set, values_of

BUCKET = "dataharvest"
FOLDER = "Ende des Tages/a+b/Größe & 100%"


def aws(*keys: str) -> bytes:
    """As AWS sends it: blanks as ``+``, slashes as they are."""
    place = {"bucket": {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"}, "configurationId": "to-kafka", "s3SchemaVersion": "1.0"}
    event = {"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1", "eventName": "ObjectCreated:Put"}
    objects = ({"key": quote_plus(key, safe="/"), "size": 0, "eTag": "0", "sequencer": "0A1B"} for key in keys)
    return json.dumps({"Records": [{**event, "s3": {**place, "object": one}} for one in objects]}).encode()


def minio(*keys: str) -> bytes:
    """As MinIO sends it: slashes are encoded too, and the first key stands outside once more."""
    event = {"eventVersion": "2.0", "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put"}
    objects = ({"key": quote_plus(key), "size": 1, "eTag": "0", "contentType": "text/csv", "versionId": "v"} for key in keys)
    records = [{**event, "s3": {"configurationId": "Config", "bucket": {"name": BUCKET}, "object": one}} for one in objects]
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/{keys[0]}", "Records": records}).encode()


def percent(*keys: str) -> bytes:
    """As some gateways send it: ``%20`` for a blank, no version, no size."""
    records = [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": quote(key)}}} for key in keys]
    return json.dumps({"Records": records}).encode()


SHAPES: dict[str, Callable[..., bytes]] = {"aws": aws, "minio": minio, "percent": percent}
SILENT = {tenant: make_set(tenant) for tenant in (*SHAPES, "several", "after-garbage", "lost")}
"""Sets in the bucket of which no worker ever heard."""


def keys_of(files: FileSet) -> list[str]:
    return [f"{files.tenant}/{FOLDER}/{entity}_20261123.csv" for entity in ENTITIES]


@pytest.fixture(scope="module")
def outside(stack_environment: dict[str, str], running_workers: RunWorkers) -> Iterator[Outside]:
    made = Outside(stack_environment)

    async def upload_silently() -> None:
        for files in SILENT.values():
            for entity, key in zip(ENTITIES, keys_of(files), strict=True):
                await made.put(key, files.file(entity))
        await made.lose_events([key for files in SILENT.values() for key in keys_of(files)])

    asyncio.run(upload_silently())
    with running_workers(2, DATAHARVEST_SWEEP_INTERVAL_S="86400"):
        yield made
    made.s3.close()


async def assert_published(outside: Outside, files: FileSet) -> None:
    await outside.published([files.tenant])
    [messages] = (await outside.outbound(files.tenant)).values()
    assert values_of(messages, of=files) == files.outbound


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_event_is_understood_whoever_sent_it(outside: Outside, shape: str) -> None:
    files = SILENT[shape]
    assert await outside.deliveries(files.tenant) == []

    for key in keys_of(files):
        await outside.send_event(SHAPES[shape](key))

    await assert_published(outside, files)
    assert {one["object_key"] for one in await outside.deliveries(files.tenant)} == set(keys_of(files))


async def test_every_record_of_a_message_counts(outside: Outside) -> None:
    await outside.send_event(aws(*keys_of(SILENT["several"])))

    await assert_published(outside, SILENT["several"])


async def test_a_message_that_nobody_can_read_is_kept_as_it_is_and_the_next_one_is_handled(outside: Outside) -> None:
    garbage = b'{"Records": [{"s3": \xff\x00 not even text'

    partition, offset = await outside.send_event(garbage, partition=2)
    await outside.send_event(aws(*keys_of(SILENT["after-garbage"])), partition=2)
    await assert_published(outside, SILENT["after-garbage"])

    letters = {one.key: json.loads(one.value) for one in await outside.records("dead-letters") if one.value}
    letter = letters[f"uploads:{partition}:{offset}".encode()]
    assert base64.b64decode(letter["value"]) == garbage
    assert (letter["stage"], letter["rule"]) == ("register", "unreadable_event")
    assert "JSON" in letter["reason"]
    query = "SELECT rule FROM dead_letter WHERE (topic, topic_partition, topic_offset) = ('uploads', $1, $2)"
    assert await outside.one(query, partition, offset) == "unreadable_event"


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T05:00:00.000Z", "Bucket": BUCKET},
        {"Records": []},
        {"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": BUCKET}, "object": {"key": "t/x"}}}]},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "other"}, "object": {"key": "t/x"}}}]},
    ],
    ids=["test event", "no record", "removal", "another bucket"],
)
async def test_an_event_that_means_nothing_leaves_no_trace(outside: Outside, event: dict[str, object]) -> None:
    partition, offset = await outside.send_event(json.dumps(event).encode())
    await outside.events_handled()

    query = "SELECT count(*) FROM dead_letter WHERE (topic, topic_partition, topic_offset) = ('uploads', $1, $2)"
    assert await outside.one(query, partition, offset) == 0
    assert await outside.deliveries("t") == []


async def test_an_event_that_comes_before_its_object_does_no_harm(outside: Outside) -> None:
    files = make_set("too-early")
    await outside.send_event(aws(*(files.object_key(entity) for entity in ENTITIES)))
    await outside.events_handled()
    assert await outside.deliveries(files.tenant) == []

    await outside.put_set(files)

    await assert_published(outside, files)


async def test_odd_keys_and_compressed_files_arrive_through_the_servers_own_events(outside: Outside) -> None:
    files = make_set("odd-keys")
    uploads = {
        "odd-keys/two  blanks/accounts_20261123.csv": files.file("accounts"),
        "odd-keys/a+b/c%2Bd/clients_20261123.csv.gz": gzip.compress(files.file("clients")),
        "odd-keys/Größe/Übung/portfolios_20261123.csv.zst": zstandard.compress(files.file("portfolios")),
        "odd-keys/a/b/c/d/e/transactions_20261123.CSV": files.file("transactions"),
    }
    for key, body in uploads.items():
        await outside.put(key, body)

    await assert_published(outside, files)
    assert {one["object_key"] for one in await outside.deliveries("odd-keys")} == uploads.keys()


async def test_an_upload_whose_event_was_lost_is_found_by_the_sweep(outside: Outside, dataharvest: Command) -> None:
    files = SILENT["lost"]
    await outside.events_handled()
    assert await outside.deliveries(files.tenant) == []

    first = await asyncio.to_thread(dataharvest, "sweep", "--once")
    assert first.returncode == 0, first.stderr
    await assert_published(outside, files)
    found = await outside.deliveries(files.tenant)

    again = await asyncio.to_thread(dataharvest, "sweep", "--once")
    assert again.returncode == 0, again.stderr
    assert await outside.deliveries(files.tenant) == found
