"""What a worker acknowledges after its partitions were taken away never moves the group's commit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import faust
import pytest
import pytest_asyncio
from faust.transport.consumer import Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from dataharvest.stale_commits import HandledOnly, SoughtFirst, commit_only_after_seek

PLACE = TP("chunks", 2)


class Message:
    """A message in hand."""

    acked, tracked = False, True
    tp, topic = PLACE, PLACE.topic

    def __init__(self, offset: int) -> None:
        self.offset = offset


@pytest_asyncio.fixture
async def consumer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    commit_only_after_seek()
    app = faust.App("stale", broker="kafka://127.0.0.1:1", loop=asyncio.get_running_loop())
    monkeypatch.setattr(app.topics, "acks_enabled_for", lambda topic: topic == PLACE.topic)
    made: Any = app.consumer
    yield made
    made._thread.thread_loop.close()


def sought(consumer: Any, offset: int | None) -> None:
    """What the seek after an assignment leaves behind."""
    consumer._read_offset[PLACE] = offset
    if offset is not None:
        consumer._committed_offset[PLACE] = offset


async def test_what_was_in_hand_at_a_revocation_is_not_committed_by_the_member_that_joined_anew(consumer: Any) -> None:
    sought(consumer, 415)
    in_hand = Message(415)
    await consumer.on_partitions_revoked({PLACE})

    assert consumer.ack(in_hand)

    # The original would let the commit fall to 416 although others have come to 435 meanwhile.
    assert SoughtFirst.original(consumer, PLACE, 416)
    assert consumer._filter_committable_offsets({PLACE}) == {}
    sought(consumer, 435)
    assert consumer._filter_committable_offsets({PLACE}) == {}


@pytest.mark.parametrize("start", [None, 415])
async def test_what_was_handled_after_the_seek_is_committed(consumer: Any, start: int | None) -> None:
    sought(consumer, start)
    consumer.ack(Message(start or 0))

    assert consumer._filter_committable_offsets({PLACE}) == {PLACE: (start or 0) + 1}


def fetched(offset: int, *, generation: int) -> ConsumerMessage:
    message = ConsumerMessage(*PLACE, offset, 0.0, 0, {}, b"key", b"value", None, tp=PLACE, generation_id=generation)
    message.incref()
    return message


async def acknowledged(app: Any) -> list[int]:
    """Offsets acknowledged after a message from before a rebalance and one from after it, in the stream that is not compiled."""
    app.consumer_generation_id = 2
    app.topics._acking_topics.add(PLACE.topic)
    app.flow_control.resume()
    stream = app.stream(app.topic(PLACE.topic, key_type=bytes, value_type=bytes).clone(is_iterator=True)).noack()
    for message in (fetched(4, generation=1), fetched(5, generation=2)):
        stream.channel.queue.put_nowait(app.create_event(message.key, message.value, {}, message))
    handed_out = stream._py_aiter()
    await anext(handed_out)
    assert stream.current_event.message.offset == 5
    assert stream.current_event.ack()
    await handed_out.aclose()
    return list(app.consumer._acked[PLACE])


async def test_without_the_repair_what_is_passed_over_is_acknowledged(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consumer, "ack", HandledOnly.original)

    assert await acknowledged(consumer.app) == [4, 5]


async def test_with_the_repair_only_what_it_handed_out_is(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consumer, "ack", HandledOnly.ack)

    assert await acknowledged(consumer.app) == [5]
