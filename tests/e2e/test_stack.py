"""The embedded stack on its own: events flow, crashes are repaired without loss, two stacks do not meet."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import boto3
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from dataharvest.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WAIT_S = 20
SERVICES = ("postgres", "kafka", "s3")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    embedded = Stack(tmp_path_factory.mktemp("stack") / "home")
    embedded.up()
    yield embedded
    embedded.erase()


@asynccontextmanager
async def s3_client(stack: Stack) -> AsyncIterator["S3Client"]:
    settings = stack.environment()
    client = boto3.client(
        "s3",
        endpoint_url=settings["DATAHARVEST_S3_ENDPOINT_URL"],
        aws_access_key_id=settings["DATAHARVEST_S3_ACCESS_KEY"],
        aws_secret_access_key=settings["DATAHARVEST_S3_SECRET_KEY"],
        region_name=settings["DATAHARVEST_S3_REGION"],
    )
    yield client
    client.close()


async def put(stack: Stack, key: str, body: bytes) -> str:
    async with s3_client(stack) as client:
        stored = await asyncio.to_thread(client.put_object, Bucket="dataharvest", Key=key, Body=body)
    return stored["VersionId"]


async def wait_for_event(stack: Stack, key: str) -> dict[str, Any]:
    consumer = AIOKafkaConsumer(
        "uploads", bootstrap_servers=stack.environment()["DATAHARVEST_BROKER"], auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(WAIT_S):
            async for message in consumer:
                for record in json.loads(message.value).get("Records", ()):
                    if record["s3"]["object"]["key"] == key:
                        return dict(record)
    finally:
        await consumer.stop()
    raise AssertionError("the consumer ended")


async def run_sql(stack: Stack, statement: str) -> list[Any]:
    connection = await asyncpg.connect(stack.environment()["DATAHARVEST_DATABASE_URL"])
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


def command(stack: Stack, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DATAHARVEST_HOME": str(stack.home.path)}
    program = [sys.executable, "-m", "dataharvest.cli.stack", *words]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


def states(stack: Stack) -> dict[str, str]:
    return {report["service"]: report["state"] for report in json.loads(command(stack, "status", "--json").stdout)}


async def test_an_object_put_into_the_bucket_is_announced_on_the_topic(stack: Stack) -> None:
    version = await put(stack, "bank a/2024/accounts_20240101.csv", b"record_id\n1\n")

    event = await wait_for_event(stack, "bank a/2024/accounts_20240101.csv")

    assert event["s3"]["bucket"]["name"] == "dataharvest"
    assert version


async def test_an_overwritten_object_keeps_its_earlier_version(stack: Stack) -> None:
    first = await put(stack, "bank/clients_20240101.csv", b"first")
    await put(stack, "bank/clients_20240101.csv", b"second")

    async with s3_client(stack) as client:
        kept = client.get_object(Bucket="dataharvest", Key="bank/clients_20240101.csv", VersionId=first)["Body"].read()

    assert kept == b"first"


async def test_the_database_is_durable_and_compares_text_bytewise(stack: Stack) -> None:
    rows = await run_sql(
        stack,
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('max_connections'), "
        "'B' < 'a', upper('ü')",
    )

    assert tuple(rows[0]) == ("on", "on", "200", True, "Ü")


async def test_the_broker_takes_a_message_of_four_mebibytes(stack: Stack) -> None:
    broker = stack.environment()["DATAHARVEST_BROKER"]
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic("large", 1, 1)])
    await admin.close()

    producer = AIOKafkaProducer(bootstrap_servers=broker, max_request_size=5_000_000)
    await producer.start()
    try:
        sent = await producer.send_and_wait("large", b"x" * 4_194_304)
    finally:
        await producer.stop()

    assert sent.offset == 0


def test_up_on_a_running_stack_starts_nothing_and_is_quick(stack: Stack) -> None:
    before = {name: stack.service(name).pid for name in SERVICES}

    began = time.monotonic()
    shown = command(stack, "up")
    took_s = time.monotonic() - began

    assert shown.returncode == 0
    assert "already up" in shown.stdout
    assert {name: stack.service(name).pid for name in SERVICES} == before
    # Starting takes longer; looking takes half a second where nothing else runs, and tests run side by side.
    assert took_s < 5


@pytest.mark.parametrize("name", SERVICES)
async def test_a_killed_service_is_reported_and_alone_started_again_without_loss(stack: Stack, name: str) -> None:
    key = f"bank/killed-{name}_20240101.csv"
    await put(stack, key, b"kept")
    await wait_for_event(stack, key)
    await run_sql(stack, f"CREATE TABLE killed_{name} AS SELECT 42 AS kept")
    before = {other: stack.service(other).pid for other in SERVICES}
    address = stack.service(name).address

    stack.service(name).kill()
    assert states(stack) == {other: "crashed" if other == name else "up" for other in SERVICES}
    assert command(stack, "status").returncode == 1
    assert command(stack, "up").returncode == 0

    after = {other: stack.service(other).pid for other in SERVICES}
    assert {other for other in SERVICES if after[other] != before[other]} == {name}
    assert stack.service(name).address == address
    async with s3_client(stack) as client:
        assert client.get_object(Bucket="dataharvest", Key=key)["Body"].read() == b"kept"
    assert await wait_for_event(stack, key)
    assert (await run_sql(stack, f"SELECT kept FROM killed_{name}"))[0]["kept"] == 42
    await put(stack, f"bank/after-{name}_20240101.csv", b"x")
    assert await wait_for_event(stack, f"bank/after-{name}_20240101.csv")


async def test_a_database_killed_in_the_middle_of_work_comes_back(stack: Stack) -> None:
    await run_sql(stack, "CREATE TABLE numbers (n int)")
    sleeper = asyncio.create_task(run_sql(stack, "INSERT INTO numbers SELECT 1 FROM pg_sleep(60)"))
    while not await run_sql(stack, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO numbers%'"):
        await asyncio.sleep(0.01)

    stack.service("postgres").kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await sleeper
    stack.service("postgres").start()

    assert await run_sql(stack, "SELECT * FROM numbers") == []


def test_a_server_that_was_started_but_not_recorded_is_taken_over(stack: Stack) -> None:
    before = stack.service("postgres").pid
    with stack.home.lock():
        stack.home.record("postgres", None)

    stack.service("postgres").start()

    assert stack.service("postgres").pid == before


def test_a_recorded_process_that_is_now_another_one_is_left_alone(stack: Stack) -> None:
    stack.service("s3").kill()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        with stack.home.changing() as state:
            state.processes["s3"]["pid"] = stranger.pid

        stack.service("s3").start()
        stack.service("s3").stop()

        assert stranger.poll() is None
        stranger.kill()
    stack.service("s3").start()


async def test_two_stacks_live_side_by_side_and_stopping_keeps_data(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "other")
    other.up()
    try:
        await put(other, "bank/only-here_20240101.csv", b"x")
        await run_sql(other, "CREATE TABLE only_here AS SELECT 1 AS n")
        addresses = {part.service(name).address for part in (stack, other) for name in SERVICES}
        assert len(addresses) == 2 * len(SERVICES)
        assert await run_sql(stack, "SELECT to_regclass('only_here') AS found") != [("only_here",)]

        assert command(other, "down").returncode == 0
        assert states(other) == dict.fromkeys(SERVICES, "stopped")
        assert set(states(stack).values()) == {"up"}

        assert command(other, "up").returncode == 0
        assert await wait_for_event(other, "bank/only-here_20240101.csv")
        assert (await run_sql(other, "SELECT n FROM only_here"))[0]["n"] == 1
    finally:
        other.erase()
    assert not other.home.path.exists()
