"""The whole `chunks` topic once more from its beginning changes no row: after repeats, rejections and removals too."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from dataharvest.adapters.kafka_admin import KafkaConsumption
from tests.conftest import Command, RunWorkers

EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
TENANT = "replayed"
WAIT_S = 60.0
TABLES = ("delivery", "chunk", "quarantine", "duplicate_key", "set_version", "set_version_delivery", "fact", "value", "outbound")
ROW_TABLES = ("row_accounts", "row_clients", "row_portfolios", "row_transactions")


def edited(folder: Path, **edits: Callable[[bytes], bytes]) -> Path:
    folder.mkdir()
    for path in EXAMPLES.glob("*.csv"):
        entity = path.name.partition("_")[0]
        if entity in edits:
            (folder / path.name).write_bytes(edits[entity](path.read_bytes()))
    return folder


async def ask(url: str, statement: str, *arguments: object) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def stored(url: str) -> dict[str, list[str]]:
    """Every row of the tenant as text, by table."""
    texts = {table: await ask(url, f"SELECT t::text AS line FROM {table} t ORDER BY 1") for table in (*TABLES, *ROW_TABLES)}
    return {table: [row["line"] for row in rows] for table, rows in texts.items()}


async def send_again(broker: str) -> dict[int, int]:
    """Append everything that is on ``chunks`` once more; returns the last offset by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=broker, max_request_size=4 << 20)
    await consumer.start()
    await producer.start()
    try:
        places = [TopicPartition("chunks", number) for number in range(16)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        last: dict[int, int] = {}
        for place in (place for place, end in ends.items() if end):
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            while await consumer.position(place) < ends[place]:
                for message in (await consumer.getmany(place, timeout_ms=1000)).get(place, []):
                    if message.offset < ends[place]:
                        sent = await producer.send_and_wait(
                            "chunks", message.value, key=message.key, partition=place.partition, headers=message.headers
                        )
                        last[place.partition] = sent.offset
        return last
    finally:
        await producer.stop()
        await consumer.stop()


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


@pytest.fixture
def loaded(dataharvest: Command, running_workers: RunWorkers, stack_environment: dict[str, str], tmp_path: Path) -> Any:
    """A set after a repeat, a rejected file, a correction, duplicates and what was removed for them; and workers."""
    steps: list[tuple[int, dict[str, Callable[[bytes], bytes]]]] = [
        (0, dict.fromkeys(("accounts", "clients", "portfolios", "transactions"), lambda content: content)),
        (0, {"clients": lambda content: content}),
        (3, {"accounts": lambda content: b"no header\n" + content}),
        (0, {"clients": lambda content: content.replace(b",801", b",900")}),
        (3, {"transactions": lambda content: content + content.splitlines(keepends=True)[1]}),
    ]
    with running_workers(1, DATAHARVEST_CORRECTION_SETTLE_S="0.5", DATAHARVEST_CHUNK_BYTES="64"):
        for number, (code, edits) in enumerate(steps):
            folder = edited(tmp_path / str(number), **edits)
            done = dataharvest("harvest", str(folder), "--tenant", TENANT, DATAHARVEST_CHUNK_BYTES="64")
            assert done.returncode == code, done.stderr
        yield stack_environment


async def test_all_chunks_once_more_change_no_row(loaded: dict[str, str]) -> None:
    url, broker = loaded["DATAHARVEST_DATABASE_URL"], loaded["DATAHARVEST_BROKER"]

    async def removed() -> bool:
        rows = await ask(url, "SELECT removed_at FROM delivery WHERE tenant = $1 AND state = 'superseded'", TENANT)
        return bool(rows) and all(row["removed_at"] for row in rows)

    await until(removed, "the superseded delivery's rows were not removed")
    states = [row["state"] for row in await ask(url, "SELECT state FROM delivery WHERE tenant = $1", TENANT)]
    assert {"complete", "repeat", "rejected", "superseded"} <= set(states)
    before = await stored(url)
    assert before["duplicate_key"] != []
    last = await send_again(broker)
    consumption = KafkaConsumption(broker, group=loaded.get("DATAHARVEST_APP_ID", "dataharvest"))

    async def read() -> bool:
        return await consumption.have_passed("chunks", last)

    await until(read, "the chunks were not read")
    assert await stored(url) == before
