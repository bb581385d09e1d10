"""Repairs without which an application that holds a Faust table loses messages or stands still, and the tripwire behind them.

Written against exactly the versions below; docs/adr/0006 holds the measurements. The first three
repairs have tests of their own on the real broker (tests/e2e/test_repairs.py), and what must not happen to commits has one
(tests/contract/test_stale_commits.py); the assignor's has unit tests. Raise a pin only after all have passed on the new version.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, NoReturn

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP, EventT

from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.stale_commits import acknowledge_only_what_was_handed_out, commit_only_after_seek, commit_only_as_member

logger = logging.getLogger(__name__)

PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}
EXIT_BUG = 70
_ANSWER_S = 10.0


def require_pinned_versions() -> None:
    """Refuse to run on versions that the repairs were not written for."""
    other = [f"{name} {version(name)} (needs {pin})" for name, pin in PINNED.items() if version(name) != pin]
    if other:
        raise Misconfigured(f"Installed {', '.join(other)}: install the pinned versions from requirements.txt.")


def halted(app: faust.App) -> bool:
    """Whether nothing new may be handled: a shutdown, a rebalance or a recovery is under way.

    First repair. ``app.rebalancing`` turns false too early and too late: an event taken or dropped in between is passed
    by the next commit. The flow switch is what the conductor itself looks at.
    """
    return bool(app.should_stop) or not app.flow_control.is_active()


def discard(app: faust.App, event: EventT[Any]) -> None:
    """Let a revocation or shutdown go on without this event; it comes again from the committed offset."""
    consumer: Any = app.consumer
    consumer._unacked_messages.discard(event.message)


def hold_flow_until_recovered(app: faust.App) -> None:
    """Keep events from flowing between the end of a rebalance and the end of the table's recovery.

    Second repair. The end of a recovery resumes the flow and clears the queues; what arrived before would be lost with them.
    """

    async def hold_flow(*_: Any, **__: Any) -> None:
        app.consumer.stop_flow()
        app.flow_control.suspend()

    app.on_rebalance_complete.connect(hold_flow, weak=False)


class CompleteSeek:
    """Third repair: ``seek_to_committed`` leaves out a partition that was never committed; it must start at its beginning.

    Otherwise its position stays where it was before the rebalance, past events that were thrown away.
    """

    original = AIOKafkaConsumer.seek_to_committed

    @staticmethod
    async def seek(consumer: AIOKafkaConsumer, *partitions: TopicPartition) -> dict[TopicPartition, int | None]:
        """As the original, and back to the start where there is no commit."""
        offsets: dict[TopicPartition, int | None] = await CompleteSeek.original(consumer, *partitions)
        for tp, offset in offsets.items():
            # A changelog's position belongs to the recovery, not to the group. Where retention has removed the log's
            # start, the broker answers "out of range" and auto_offset_reset=earliest moves to the first offset kept.
            if not offset and not tp.topic.endswith("-changelog"):
                consumer.seek(tp, 0)
        return offsets


def complete_seek_to_committed() -> None:
    """Install the third repair; installing it twice changes nothing."""
    AIOKafkaConsumer.seek_to_committed = CompleteSeek.seek


class _KnownTopics:
    """The broker's metadata, completed by what is known of our own topics."""

    def __init__(self, cluster: ClusterMetadata, partition_counts: Mapping[str, int]) -> None:
        self._cluster = cluster
        self._partition_counts = partition_counts

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._cluster.partitions_for_topic(topic) or set(range(self._partition_counts.get(topic, 0)))


class CompleteAssignor(PartitionAssignor):
    """Fourth repair: an assignment leaves no topic out.

    For a moment after a broker's restart its metadata may lack a topic. Faust then assigns the group without it, and nobody
    reads that topic until the next rebalance, which may be hours away. Every topic was there when the worker started.
    """

    partition_counts: ClassVar[Mapping[str, int]] = {}

    @classmethod
    def _get_copartitioned_groups(cls, topics: Any, cluster: Any, subscriptions: Any) -> Any:
        return super()._get_copartitioned_groups(topics, _KnownTopics(cluster, cls.partition_counts), subscriptions)


class Tripwire:
    """Ends the worker before it handles an event that leaves a gap behind the last one of its partition, or behind the commit.

    No cause of loss, known or not, can then pass silently. Only for plain topics: compacted and transactional ones
    have gaps by nature.
    """

    def __init__(self) -> None:
        self._last: dict[TP, int] = {}
        self._starts: Starts | None = None

    def compare_with(self, starts: "Starts") -> None:
        """From now on compare the first event of a partition with where the group's commit says it has to start."""
        self._starts = starts

    def forget(self) -> None:
        """Start afresh: the partitions have just been assigned."""
        self._last.clear()

    async def check_first(self, event: EventT[Any]) -> None:
        """Pass the first event since the assignment, or end the process with 70 when a message before it was never handled.

        Raises:
            Unavailable: Kafka can't be asked now; check again.
        """
        tp, offset = event.message.tp, event.message.offset
        if self._starts is None or tp in self._last:
            return
        committed = self._starts.committed(tp)
        # Markers of transactions and what retention has removed are no messages: ask the broker before crying wolf.
        if offset > committed and (first := await self._starts.first_message(tp, committed)) < offset:
            _end(tp, last_offset=first - 1, offset=offset)

    def check(self, event: EventT[Any]) -> None:
        """Pass the event, or end the process with 70 when an offset before it was never handled."""
        tp, offset = event.message.tp, event.message.offset
        last = self._last.get(tp)
        if last is not None and offset > last + 1:
            _end(tp, last_offset=last, offset=offset)

    def passed(self, event: EventT[Any]) -> None:
        """Note that the event was handled and will be acknowledged."""
        self._last[event.message.tp] = event.message.offset


def _end(tp: TP, *, last_offset: int, offset: int) -> NoReturn:
    details = {"topic": tp.topic, "partition": tp.partition, "last_offset": last_offset, "offset": offset}
    logger.critical("offsets skipped, the worker ends before it handles the event", extra=details)
    logging.shutdown()
    os._exit(EXIT_BUG)


@dataclass(frozen=True)
class Starts:
    """Where the partitions of an application have to start."""

    app: faust.App

    def committed(self, tp: TP) -> int:
        """The commit that the partition was set to after its assignment; 0 when it had none."""
        consumer: Any = self.app.consumer
        return consumer._committed_offset.get(tp) or 0

    async def first_message(self, tp: TP, offset: int) -> int:
        """Offset of the first message that the broker holds at or after ``offset``."""
        brokers = [f"{url.host}:{url.port}" for url in self.app.conf.broker_consumer]
        consumer = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest")
        try:
            await consumer.start()
            place = TopicPartition(tp.topic, tp.partition)
            consumer.assign([place])
            consumer.seek(place, offset)
            async with asyncio.timeout(_ANSWER_S):
                return int((await consumer.getone()).offset)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error
        finally:
            await consumer.stop()


def arm(app: faust.App, tripwire: Tripwire) -> None:
    """Install the repairs and the tripwire on an application."""
    complete_seek_to_committed()
    commit_only_after_seek()
    commit_only_as_member()
    acknowledge_only_what_was_handed_out()
    hold_flow_until_recovered(app)
    tripwire.compare_with(Starts(app))

    async def forget(*_: Any, **__: Any) -> None:
        tripwire.forget()

    app.on_partitions_assigned.connect(forget, weak=False)
    app.on_partitions_revoked.connect(forget, weak=False)
