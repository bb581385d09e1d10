"""Carries S3 events from an SQS queue to Kafka: AWS S3 cannot write to Kafka itself.

A message is deleted from the queue only after Kafka has acknowledged it. So whatever ends the bridge in between,
the event comes again, and an event that comes twice is harmless.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

from dataharvest.errors import Rejected, Unavailable
from dataharvest.ports import Sender
from dataharvest.rules.events import objects_in

logger = logging.getLogger(__name__)

UPLOADS = "uploads"
LONGEST_DELAY_S = 30.0
"""Longest pause between two tries while SQS or Kafka is away."""


@dataclass(frozen=True, kw_only=True)
class QueuedEvent:
    """One message of the queue."""

    body: bytes
    receipt: str
    """What the queue wants to see when the message is deleted."""


class EventQueue(Protocol):
    """Where the bucket's owner sends events; raises Unavailable when it cannot be used."""

    async def receive(self) -> Sequence[QueuedEvent]:
        """The next events, at most ten; none when nothing came for the length of a long poll."""

    async def delete(self, receipts: Sequence[str]) -> None:
        """Forget events; those that were not deleted come again."""


Connect = Callable[[], AbstractAsyncContextManager[tuple[EventQueue, Sender]]]


async def bridge_once(queue: EventQueue, sender: Sender) -> int:
    """Carry what the queue has now; the number of events carried, 0 after a long poll without any.

    The bodies travel unchanged, also those that nobody can read: ``register`` understands what SNS and EventBridge
    wrap, and dead-letters the rest with its original bytes.

    Raises:
        Unavailable: SQS or Kafka failed; nothing is deleted that Kafka has not acknowledged.
    """
    events = await queue.receive()
    for event in events:
        await sender.send(UPLOADS, key=message_key(event.body), value=event.body)
    if events:
        await queue.delete([event.receipt for event in events])
    return len(events)


def message_key(body: bytes) -> bytes:
    """``bucket/object-key`` of the first object that the event names, empty when it names none."""
    try:
        found = objects_in(body)
    except Rejected:
        return b""
    return f"{found[0].bucket}/{found[0].keys[0]}".encode() if found else b""


async def run_bridge(connect: Connect, *, stop: asyncio.Event, first_delay_s: float = 0.5) -> None:
    """Carry events until ``stop`` is set; outages of SQS or Kafka are waited out with a growing delay.

    A long poll or a send under way is abandoned when ``stop`` is set: its events come again.
    """
    delay_s = first_delay_s
    while not stop.is_set():
        try:
            async with connect() as (queue, sender):
                while await _carry_unless_stopped(queue, sender, stop=stop):
                    delay_s = first_delay_s
        except Unavailable as error:
            logger.warning("bridge unavailable, retrying", extra={"error": error.message, "delay_s": delay_s})
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)


async def _carry_unless_stopped(queue: EventQueue, sender: Sender, *, stop: asyncio.Event) -> bool:
    carrying = asyncio.create_task(bridge_once(queue, sender))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({carrying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if carrying.done():
            await carrying
    finally:
        carrying.cancel()
        stopping.cancel()
        await asyncio.gather(carrying, stopping, return_exceptions=True)
    return not stop.is_set()
