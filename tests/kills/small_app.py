"""A Faust application as small as the repairs' tests need: one agent with a table, in a process of its own.

``python -m tests.kills.small_app REPORT`` takes its settings from the environment and appends to the file REPORT a JSON line for
whatever the tests want to know. While the file named by ``OUTAGE`` exists a service is missing; with ``BUG`` every message fails.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer

from dataharvest.delivery import Delivery
from dataharvest.errors import Rejected, Unavailable
from dataharvest.faust_repairs import arm
from dataharvest.ports import Position, RawMessage
from dataharvest.suspects import Suspects

TOPIC, PARTITIONS, GROUP = "numbers", 2, "small"


class Report:
    """What happened, a JSON line each; several processes may write to one file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def add(self, what: str, **details: Any) -> None:
        """One line."""
        with Path(self._path).open("a") as file:
            file.write(json.dumps({"what": what, "pid": os.getpid(), **details}) + "\n")


class ReportedJournal:
    """Says that every attempt is to be noted, and reports it; with ``BUG`` set it can note nothing."""

    def __init__(self, report: Report) -> None:
        self._report = report

    async def load(self) -> tuple[dict[Position, int], bool]:
        return {}, "BUG" not in os.environ

    async def add(self, position: Position, *, error: str | None) -> None:
        if "BUG" in os.environ:
            raise RuntimeError("a driver's own error")
        self._report.add("noted", **position._asdict())

    async def remove(self, position: Position) -> None:
        self._report.add("forgotten", **position._asdict())

    async def given_up(self) -> set[bytes]:
        return set()


class NoDeadLetters:
    """Nothing may end here."""

    async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
        raise AssertionError(reason)


def build(report: Report) -> faust.App:
    """The application: every number is noted in the report and in a table."""
    app = faust.App(
        GROUP,
        broker=f"kafka://{os.environ['BROKER']}",
        store="memory://",
        datadir=os.environ["DATA_DIR"],
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_commit_interval=0.5,
        table_standby_replicas=0,
    )
    numbers = app.topic(TOPIC, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    table = app.Table("seen", key_type=bytes, partitions=PARTITIONS, default=None)
    delivery = Delivery(app=app, dead_letters=NoDeadLetters(), suspects=Suspects(ReportedJournal(report)))
    if "UNREPAIRED" not in os.environ:
        arm(app, delivery.tripwire)
    if "ASTRAY" in os.environ:
        _lead_astray()

    async def handle(value: bytes, position: Position) -> None:
        if "BUG" in os.environ:
            raise ValueError("a bug")
        if Path(os.environ["OUTAGE"]).exists():
            report.add("unavailable", **position._asdict())
            raise Unavailable("as the test wants it")
        report.add("handled", value=value.decode(), **position._asdict())
        table[value] = position.offset

    @app.agent(numbers, name="note", isolated_partitions=True)
    async def note(stream: Any) -> None:
        await delivery.run(stream, handle, stage="note")

    _probe(app, report)
    return app


def _lead_astray() -> None:
    # Every seek to the commit ends one message too late.
    right = AIOKafkaConsumer.seek_to_committed

    async def seek_to_committed(self: AIOKafkaConsumer, *partitions: Any) -> Any:
        offsets = await right(self, *partitions)
        for place, offset in offsets.items():
            if place.topic == TOPIC:
                self.seek(place, (offset or 0) + 1)
        return offsets

    AIOKafkaConsumer.seek_to_committed = seek_to_committed


def _probe(app: faust.App, report: Report) -> None:
    @app.on_partitions_assigned.connect(weak=False)
    async def watch_flow(*_: Any, **__: Any) -> None:
        consumer: Any = app.consumer
        original = type(consumer).resume_partitions

        # At the end of a recovery Faust resumes the streams' partitions, and only afterwards seeks and turns the flow on.
        def resume_partitions(partitions: Any) -> None:
            if any(one.topic == TOPIC for one in partitions):
                report.add("resumed", flowing=bool(consumer.flow_active and app.flow_control.is_active()))
            original(consumer, partitions)

        consumer.resume_partitions = resume_partitions


if __name__ == "__main__":
    worker = faust.Worker(build(Report(sys.argv[1])), loglevel="WARNING")
    worker.spinner = None
    worker.execute_from_commandline()
