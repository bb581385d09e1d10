"""The gauges that PostgreSQL and Kafka know: asked for now and then, so that a scrape costs nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

from dataharvest import metrics
from dataharvest.rules.standing import State

WINDOW = timedelta(days=31)
"""Business dates looked at: a set that is older has been settled, or everybody knows."""


class Measured(NamedTuple):
    """What PostgreSQL says of all tenants together."""

    sets: Mapping[str, int]
    """By state; those without a set may be missing."""
    late_sets: int
    lateness_s: float
    quarantine_open: int
    dead_letters: int
    unfinished_s: float


class Measurements(Protocol):
    """What there is to be measured in PostgreSQL."""

    async def measure(self, *, window: timedelta) -> Measured:
        """The state of now, of sets whose business date is at most that far back."""


class Lag(Protocol):
    """What there is to be measured in Kafka."""

    async def lag(self) -> Mapping[str, int]:
        """By topic: messages that the workers have not finished."""


@dataclass
class Measuring:
    """Keeps the gauges of this process; for a worker's loop, and for whoever answers a scrape."""

    measurements: Measurements
    lag: Lag
    clock: Callable[[], float] = time.time
    _measured_at: float = field(default=0.0)

    async def refresh(self, *, max_age_s: float = 10.0) -> None:
        """Ask again unless the gauges are younger than that.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there; the gauges stay as they were, and say of when they are.
        """
        if self.clock() - self._measured_at < max_age_s:
            return
        found, lags = await self.measurements.measure(window=WINDOW), await self.lag.lag()
        for state in State:
            metrics.SETS.labels(state.value).set(found.sets.get(state.value, 0))
        for topic, count in lags.items():
            metrics.LAG_MESSAGES.labels(topic).set(count)
        metrics.LATE_SETS.set(found.late_sets)
        metrics.LATENESS_SECONDS.set(found.lateness_s)
        metrics.QUARANTINE_OPEN.set(found.quarantine_open)
        metrics.DEAD_LETTERS.set(found.dead_letters)
        metrics.UNFINISHED_SECONDS.set(found.unfinished_s)
        self._measured_at = self.clock()
        metrics.MEASURED_AT.set(self._measured_at)
