"""The replay itself: message after message, each awaited, its position kept, so that it can stop and go on anywhere."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from dataharvest.ports import Resender
from dataharvest.replaying.dead_letters import with_source
from dataharvest.replaying.log import LoggedMessage
from dataharvest.replaying.pace import Courtesy, Pace
from dataharvest.replaying.ports import Replays
from dataharvest.replaying.requests import Replay
from dataharvest.replaying.sources import Item, Source

_SAVE_EACH_S = 1.0


class Show(Protocol):
    """Is told how far a replay is."""

    def __call__(self, *, passed: int, total: int, sent_count: int, sent_bytes: int) -> None:
        """Of at most ``total`` messages ``passed`` are behind it."""


@dataclass
class Runner:
    """Sends what a source gives; one at a time, so that what is kept is exactly what was sent."""

    replays: Replays
    sender: Resender
    pace: Pace
    courtesy: Courtesy
    stop: asyncio.Event
    show: Show
    clock: Callable[[], float] = time.monotonic
    _next: dict[int, int] = field(default_factory=dict)

    async def run(self, replay: Replay, source: Source) -> Replay:
        """Go on until the end or until ``stop`` is set; returns how far it got.

        What was sent since the last saved position is sent once more after a crash: every stage takes a message twice.

        Raises:
            Unavailable: Kafka or PostgreSQL is not there; the position is that of a second ago.
        """
        self._next = {one.number: one.next for one in replay.parts}
        sent_count, sent_bytes, saved_at = replay.sent_count, replay.sent_bytes, self.clock()
        async with aclosing(source.items(replay.parts)) as items:  # type: ignore[type-var]
            async for item in items:
                if item.message is not None:
                    await self.pace.wait(item.message.byte_count, unless=self.stop)
                if self.stop.is_set():
                    break
                if item.message is not None:
                    await self._send(replay.request.topic, item.message)
                    sent_count, sent_bytes = sent_count + 1, sent_bytes + item.message.byte_count
                self._next[item.part] = item.at + 1
                if self.clock() - saved_at >= _SAVE_EACH_S:
                    replay = await self._save(replay, sent_count, sent_bytes)
                    await self.courtesy.wait(unless=self.stop)
                    saved_at = self.clock()
        return await self._save(replay, sent_count, sent_bytes)

    async def _send(self, topic: str, message: LoggedMessage) -> None:
        headers = with_source(message.headers, message.position)
        partition = message.position.partition
        await self.sender.resend(topic, key=message.key, value=message.value, headers=headers, partition=partition)

    async def _save(self, replay: Replay, sent_count: int, sent_bytes: int) -> Replay:
        await self.replays.save(replay.replay_id, next_by_part=self._next, sent_count=sent_count, sent_bytes=sent_bytes)
        parts = tuple(one._replace(next=self._next[one.number]) for one in replay.parts)
        moved = replay._replace(parts=parts, sent_count=sent_count, sent_bytes=sent_bytes)
        self.show(passed=moved.total - moved.left, total=moved.total, sent_count=sent_count, sent_bytes=sent_bytes)
        return moved


__all__ = ["Item", "Runner", "Show"]
