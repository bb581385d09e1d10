"""What a worker acknowledges after its partitions were taken away never moves the group's commit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import faust
import pytest
import pytest_asyncio
from faust.types import TP

from dataharvest.stale_commits import SoughtFirst, commit_only_after_seek

PLACE = TP("chunks", 2)


class Message:
    """A message in hand."""

    acked = False
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
