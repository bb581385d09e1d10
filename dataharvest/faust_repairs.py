"""Three repairs without which an application that holds a Faust table loses messages, and the tripwire behind them.

Written against exactly the versions below; docs/adr/0006 holds the measurements. Each repair has a test of its
own on the real broker. Raise a pin only after those tests have passed on the new version.
"""

import logging
import os
from importlib.metadata import version
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP, EventT

from dataharvest.errors import Misconfigured

logger = logging.getLogger(__name__)

PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}
EXIT_BUG = 70


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


class _CompleteSeek:
    """Third repair: ``seek_to_committed`` leaves out a partition that was never committed; it must start at its beginning.

    Otherwise its position stays where it was before the rebalance, past events that were thrown away.
    """

    original = AIOKafkaConsumer.seek_to_committed

    @staticmethod
    async def seek(consumer: AIOKafkaConsumer, *partitions: TopicPartition) -> dict[TopicPartition, int | None]:
        offsets: dict[TopicPartition, int | None] = await _CompleteSeek.original(consumer, *partitions)
        for tp, offset in offsets.items():
            # A changelog's position belongs to the recovery, not to the group. Where retention has removed the log's
            # start, the broker answers "out of range" and auto_offset_reset=earliest moves to the first offset kept.
            if not offset and not tp.topic.endswith("-changelog"):
                consumer.seek(tp, 0)
        return offsets


def complete_seek_to_committed() -> None:
    """Install the third repair; installing it twice changes nothing."""
    AIOKafkaConsumer.seek_to_committed = _CompleteSeek.seek


class Tripwire:
    """Ends the worker before it handles an event that leaves a gap behind the last one of its partition.

    No cause of loss, known or not, can then pass silently. Only for plain topics: compacted and transactional ones
    have gaps by nature.
    """

    def __init__(self) -> None:
        self._last: dict[TP, int] = {}

    def forget(self) -> None:
        """Start afresh: the partitions have just been assigned."""
        self._last.clear()

    def check(self, event: EventT[Any]) -> None:
        """Pass the event, or end the process with 70 when an offset before it was never handled."""
        tp, offset = event.message.tp, event.message.offset
        last = self._last.get(tp)
        if last is not None and offset > last + 1:
            details = {"topic": tp.topic, "partition": tp.partition, "last_offset": last, "offset": offset}
            logger.critical("offsets skipped, the worker ends before it handles the event", extra=details)
            logging.shutdown()
            os._exit(EXIT_BUG)

    def passed(self, event: EventT[Any]) -> None:
        """Note that the event was handled and will be acknowledged."""
        self._last[event.message.tp] = event.message.offset


def arm(app: faust.App, tripwire: Tripwire) -> None:
    """Install the three repairs and the tripwire on an application."""
    complete_seek_to_committed()
    hold_flow_until_recovered(app)

    async def forget(*_: Any, **__: Any) -> None:
        tripwire.forget()

    app.on_partitions_assigned.connect(forget, weak=False)
    app.on_partitions_revoked.connect(forget, weak=False)
