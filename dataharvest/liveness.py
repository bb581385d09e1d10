"""What the watchdog is told of a Faust application: whether messages flow, and whether any wait."""

import asyncio
from collections.abc import Collection
from typing import Any

import faust
from aiokafka.errors import IllegalStateError

from dataharvest.faust_repairs import halted
from dataharvest.watchdog import Vitals

_BEAT_S = 1.0


async def keep_beating(app: faust.App, vitals: Vitals, *, topics: Collection[str]) -> None:
    """Beat once a second until the application stops."""
    while not app.should_stop:
        vitals.beat(is_flowing=not halted(app), is_behind=is_behind(app, topics=topics))
        await asyncio.sleep(_BEAT_S)


def is_behind(app: faust.App, *, topics: Collection[str]) -> bool:
    """Whether a partition of these topics that is ours holds messages that are not committed."""
    consumer: Any = app.consumer
    for tp in consumer.assignment():
        if tp.topic not in topics:
            continue
        try:
            end = consumer.highwater(tp)
        except (AssertionError, IllegalStateError):
            # It was taken away a moment ago.
            continue
        if end and end > (consumer._committed_offset.get(tp) or 0):
            return True
    return False
