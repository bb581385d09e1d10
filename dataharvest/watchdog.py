"""When a worker counts as stuck, and its end: a thread beside the event loop, which may itself be what hangs."""

import asyncio
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NoReturn

from dataharvest.addresses import KAFKA_PORT, host_and_port
from dataharvest.whereabouts import line_of_main_thread, lines_of_tasks

logger = logging.getLogger(__name__)

EXIT_STUCK = 75
END_S = 25.0
"""How long a worker may take to end after it was asked to; supervisors and Kubernetes kill after 30."""
_LOOK_S = 1.0
_CONNECT_S = 2.0
_LAST_RESORT_S = 5.0


@dataclass
class Vitals:
    """The signs of life of a worker; all moments by ``clock``. To wait for a service that is away is a sign of life."""

    limit_s: float
    """How long each of them may be missing; 0 for ever."""
    clock: Callable[[], float] = time.monotonic
    _beat_at: float = field(init=False)
    _flowing_at: float = field(init=False)
    _moved_at: float = field(init=False)
    _in_hand: dict[Hashable, float] = field(default_factory=dict)
    _round_at: float | None = None
    """When the splitters' loop came round last; None where there is none."""

    def __post_init__(self) -> None:
        """Begin alive."""
        self.limit_s = self.limit_s or math.inf
        self.revive()

    def revive(self) -> None:
        """Count from now on, whatever was before."""
        self._beat_at = self._flowing_at = self._moved_at = self.clock()
        for one in list(self._in_hand):
            self._in_hand[one] = self.clock()
        if self._round_at is not None:
            self.come_round()

    def beat(self, *, is_flowing: bool, is_behind: bool) -> None:
        """The event loop runs; whether messages may flow, and whether any wait to be read."""
        self._beat_at = self.clock()
        if is_flowing:
            self._flowing_at = self._beat_at
        if not is_behind or not is_flowing or self._in_hand:
            self._moved_at = self._beat_at

    def come_round(self) -> None:
        """The splitters' loop looks around again, or tries to."""
        self._round_at = self.clock()

    def pick_up(self, message: Hashable) -> None:
        """A message is in hand, or still is, and something has just been tried."""
        # To read one is to move: what it hangs in afterwards is not that none is read.
        self._in_hand[message] = self._moved_at = self.clock()

    def put_down(self, message: Hashable) -> None:
        """A message is no longer in hand."""
        self._in_hand.pop(message, None)
        self._moved_at = self.clock()

    def is_loop_blocked(self) -> bool:
        """Whether the event loop has not run for too long."""
        return self.clock() - self._beat_at > self.limit_s

    def complaint(self) -> str | None:
        """What has been missing for too long; None when all is well."""
        now = self.clock()
        if self.is_loop_blocked():
            return "the event loop is blocked"
        if now - self._flowing_at > self.limit_s:
            return "a rebalance or recovery does not end"
        if any(now - since > self.limit_s for since in list(self._in_hand.values())):
            return "a message has been in hand for too long"
        if self._round_at is not None and now - self._round_at > self.limit_s:
            return "the splitters' loop does not come round"
        if now - self._moved_at > self.limit_s:
            return "messages wait and none is read"
        return None


class Watchdog(threading.Thread):
    """Ends the process with 75 and one log line when its signs of life are missing; a supervisor starts it again."""

    def __init__(self, vitals: Vitals, *, broker: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._vitals = vitals
        self._loop = loop
        self._broker = broker
        self._over = threading.Event()
        self._end_by = math.inf

    def run(self) -> None:
        """Look once a second until told to stop."""
        while not self._over.wait(_LOOK_S):
            self._look()

    def stop(self) -> None:
        """Look no more: the worker ends by itself."""
        self._over.set()

    def expect_end(self, *, within_s: float = END_S) -> None:
        """The worker was asked to end: a client whose connection broke meanwhile may wait for its server for ever."""
        self._end_by = self._vitals.clock() + within_s

    def _look(self) -> None:
        if self._end_by < math.inf:
            # On its way out it beats no more; what was not committed comes again.
            if self._vitals.clock() > self._end_by:
                self._end("it was asked to end and does not")
            return
        complaint = self._vitals.complaint()
        if complaint is None:
            return
        if not self._vitals.is_loop_blocked() and not answers(self._broker):
            # Without a broker no worker gets on, and another start would not help.
            self._vitals.revive()
            return
        self._end(complaint)

    def _end(self, complaint: str) -> NoReturn:
        # Whatever becomes of the line, even if the log itself is what hangs: nobody else would end this process.
        last_resort = threading.Timer(_LAST_RESORT_S, os._exit, (EXIT_STUCK,))
        last_resort.daemon = True
        last_resort.start()
        places = {"at_line": line_of_main_thread(), "tasks_at": lines_of_tasks(self._loop)}
        details = {"reason": complaint, "limit_s": self._vitals.limit_s, **places}
        logger.critical("worker is stuck and ends itself", extra=details)
        logging.shutdown()
        os._exit(EXIT_STUCK)


def answers(broker: str) -> bool:
    """Whether any of the addresses, parted by commas, accepts a connection."""
    for address in broker.split(","):
        try:
            with socket.create_connection(host_and_port(address, default_port=KAFKA_PORT), timeout=_CONNECT_S):
                return True
        except (OSError, ValueError):
            continue
    return False
