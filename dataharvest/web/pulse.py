"""Tells every open page that something has changed, with one look at the database for all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from dataharvest.errors import Unavailable
from dataharvest.ports import StatusReader

OUTAGE = "outage"
"""What is told instead while the database is not there."""


class Pulse:
    """Looks at the database while somebody listens, at most every ``interval_s``, and tells each change to all."""

    def __init__(self, reader: StatusReader, *, interval_s: float, stopping: Callable[[], bool]) -> None:
        self._reader = reader
        self._interval_s = interval_s
        self._stopping = stopping
        self._listeners = 0
        self._changed = asyncio.Condition()
        self._beat = ""
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_looking(self) -> bool:
        """Whether the database is looked at now and then."""
        return self._looking is not None

    async def beats(self) -> AsyncIterator[str]:
        """A text at once, and another whenever something was written; ends when the server does."""
        self._listeners += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        told = ""
        try:
            while not self._stopping():
                if self._beat not in ("", told):
                    told = self._beat
                    yield told
                await self._wait(told)
        finally:
            self._listeners -= 1

    async def _wait(self, told: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s), self._changed:
                await self._changed.wait_for(lambda: self._beat not in ("", told))

    async def _look(self) -> None:
        """Runs until nobody listens any more."""
        while self._listeners and not self._stopping():
            try:
                beat = await self._reader.pulse()
            except Unavailable:
                beat = OUTAGE
            if beat != self._beat:
                async with self._changed:
                    self._beat = beat
                    self._changed.notify_all()
            await asyncio.sleep(self._interval_s)
        self._looking = None
