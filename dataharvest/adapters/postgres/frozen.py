"""Sessions of workers that froze with a transaction open: whoever waits for their locks in vain ends them."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataharvest.sql import queries

if TYPE_CHECKING:
    from dataharvest.adapters.postgres.connection import Connection

logger = logging.getLogger(__name__)

_REFUSALS, _WITHIN_S = 3, 120.0


class FrozenSessions:
    """Counts the locks that were not granted in time; after the third within two minutes the silent sessions are to be ended.

    The worker behind such a session may wake up later: it finds its connection gone and does the message again, like any other.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused_at: deque[float] = deque(maxlen=_REFUSALS)

    def refused(self) -> bool:
        """A lock was not granted in time; whether that was once too often."""
        self._refused_at.append(self._clock())
        if len(self._refused_at) < _REFUSALS or self._refused_at[-1] - self._refused_at[0] > _WITHIN_S:
            return False
        self._refused_at.clear()
        return True


async def end_frozen_sessions(connection: "Connection") -> int:
    """End the sessions of this program that are in a transaction and have been silent for half a minute; how many."""
    ended = await connection.fetch(queries("operations")["end_frozen_sessions"])
    for row in ended:
        logger.error("frozen worker's session ended", extra={"session": row["application_name"], "silent_s": row["silent_s"]})
    return len(ended)
