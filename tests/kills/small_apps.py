"""Processes of the small application and the topics they need, for the tests of the repairs."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kills.small_app import PARTITIONS, TOPIC
from tests.kills.world import eventually

REPOSITORY = Path(__file__).parents[2]
WAIT_S = 60


@asynccontextmanager
async def topics(broker: str, partitions: Mapping[str, int]) -> AsyncIterator[AIOKafkaAdminClient]:
    """The topics with their numbers of partitions, deleted in the end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, count, 1) for name, count in partitions.items()])
        yield admin
        await admin.delete_topics(list(partitions))
    finally:
        await admin.close()


async def produce(broker: str, topic: str, values: list[bytes]) -> None:
    """Send the values, in turn to each partition of the small application's topic, else to partition 0."""
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    try:
        for number, value in enumerate(values):
            await producer.send_and_wait(topic, value, partition=number % PARTITIONS if topic == TOPIC else 0)
    finally:
        await producer.stop()


async def produce_with_gaps(broker: str, topic: str, values: list[bytes]) -> None:
    """Send each value to partition 0 in a transaction, whose end takes an offset of its own."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id="gaps")
    await producer.start()
    try:
        for value in values:
            async with producer.transaction():
                await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


class SmallApps:
    """Processes of the small application that share a report, an outage and a group."""

    def __init__(self, broker: str, folder: Path) -> None:
        self._folder = folder
        self.outage = folder / "outage"
        self.report = folder / "report.jsonl"
        self._environment = {**os.environ, "BROKER": broker, "OUTAGE": str(self.outage)}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, **settings: str) -> "subprocess.Popen[bytes]":
        data_directory = self._folder / f"data-{len(self._started)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.small_app", str(self.report)],
            cwd=REPOSITORY,
            env={**self._environment, "DATA_DIR": str(data_directory), **settings},
        )
        self._started.append(process)
        return process

    def lines(self, what: str) -> list[dict[str, Any]]:
        text = self.report.read_text() if self.report.exists() else ""
        found = [json.loads(line) for line in text.splitlines()]
        return [one for one in found if one["what"] == what]

    def places(self, what: str) -> set[tuple[int, int]]:
        return {(one["partition"], one["offset"]) for one in self.lines(what)}

    async def until(self, what: str, count: int, **wanted: Any) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            return [one for one in self.lines(what) if wanted.items() <= one.items()]

        async def enough() -> bool:
            return len(found()) >= count

        await eventually(enough, what=f"{count} × {what} {wanted}", within_s=WAIT_S)
        return found()

    def end_all(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


async def ended(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is not None
