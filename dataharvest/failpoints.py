"""Named places in the code at which a test may kill, stop or delay this process; switched off unless the environment names one.

``DATAHARVEST_FAILPOINT`` lists them, parted by commas: ``NAME=ACTION@N`` acts when the place is reached for the N-th time,
``NAME=ACTION%N`` at every N-th time. Actions: ``kill`` (SIGKILL), ``stop`` (SIGSTOP, goes on after SIGCONT), ``sleep:SECONDS``
(blocks the whole process), ``hang`` (for ever), ``raise`` (an exception that nobody expects). ``DATAHARVEST_FAILPOINT_ARMED_BY``
may name a file: before it is there, nothing is counted.
"""

import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dataharvest.errors import Misconfigured

VARIABLE, ARMED_BY = "DATAHARVEST_FAILPOINT", "DATAHARVEST_FAILPOINT_ARMED_BY"
FAILPOINTS = {
    "register.received": "an event is received",
    "register.registered": "a delivery is registered",
    "split.chunk_sent": "a chunk is sent and not acknowledged",
    "split.all_sent": "every chunk is sent and the delivery is not sealed",
    "persist.received": "a chunk is received",
    "persist.mid_copy": "a COPY has its data and not its end",
    "persist.copied": "a chunk's rows are copied",
    "persist.ledger_row": "the ledger row is inserted and not committed",
    "persist.committed": "the chunk is committed and its offset is not",
    "judge.begun": "a small delivery is taken for judging and not judged",
    "judge.removed": "a step of removing copies is taken, others are left, and it is not committed",
    "judge.step_taken": "a step of a judgement is committed and its message is not sent once more",
    "fold.table_changed": "the table is changed and the offset is not committed",
    "fold.readiness_decided": "readiness is decided and not sent",
    "fan_out.planned": "batches are planned and neither done nor sent",
    "transform.computed": "values are computed and not stored",
    "publish.stored": "outbound messages are committed and not sent",
    "publish.acknowledged": "outbound messages are acknowledged and not marked",
    "publish.marked": "outbound messages are marked, and the offset, or of a small set the mark itself, is not committed",
}
"""Every place by name, in the order of the journey, with what is true there."""

_ENTRY = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|hang|raise|sleep:(?P<sleep_s>[0-9.]+))(?P<when>[@%])(?P<n>[1-9][0-9]*)"
)


class PlannedFailure(Exception):
    """The exception of the action ``raise``."""


@dataclass(frozen=True)
class _Plan:
    action: str
    n: int
    repeats: bool
    sleep_s: float

    def is_due(self, count: int) -> bool:
        return count % self.n == 0 if self.repeats else count == self.n


@dataclass
class Failpoints:
    """What happens at which place; made from the environment's text."""

    plans: Mapping[str, _Plan]
    armed_by: Path | None = None
    _reached: Counter[str] = field(default_factory=Counter)

    def reach(self, name: str) -> None:
        """The place is reached once more: do what is planned for this time."""
        plan = self.plans.get(name)
        if plan is None or (self.armed_by is not None and not self.armed_by.exists()):
            return
        self._reached[name] += 1
        if plan.is_due(self._reached[name]):
            _act(plan, name)


def parse_failpoints(text: str, *, armed_by: str = "") -> Failpoints | None:
    """The plan that the text describes; None when it is empty. ``armed_by`` is the path of the file without which nothing counts.

    Raises:
        Misconfigured: it can't be read, or names a place that does not exist.
    """
    plans: dict[str, _Plan] = {}
    for entry in filter(None, (one.strip() for one in text.split(","))):
        found = _ENTRY.fullmatch(entry)
        if found is None or found["name"] not in FAILPOINTS:
            raise Misconfigured(f"{VARIABLE} can't be read at {entry!r}: see dataharvest/failpoints.py.")
        plans[found["name"]] = _Plan(
            found["action"].partition(":")[0], int(found["n"]), found["when"] == "%", float(found["sleep_s"] or 0)
        )
    return Failpoints(plans, Path(armed_by) if armed_by else None) if plans else None


def _act(plan: _Plan, name: str) -> None:
    match plan.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(plan.sleep_s)
        case "hang":
            while True:
                time.sleep(60)
        case "raise":
            raise PlannedFailure(f"planned at {name}")


try:
    _active = parse_failpoints(os.environ.get(VARIABLE, ""), armed_by=os.environ.get(ARMED_BY, ""))
except Misconfigured as error:
    sys.exit(f"dataharvest: {error}")


def failpoint(name: str) -> None:
    """A place that tests know; nothing but this one look happens when it is switched off."""
    if _active is not None:
        _active.reach(name)
