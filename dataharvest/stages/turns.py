"""Turns: things that do not depend on each other each get theirs, whatever becomes of the others."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from dataharvest.errors import Rejected, Unavailable

OUTAGES_IN_A_ROW = 3
"""As many failures, one after the other, are no trouble of single things any more: the service is gone."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Turns:
    """Remembers the first outage, or refusal, and goes on, until the end or until it is clear that a service is gone."""

    def __init__(self, *, in_a_row: int = OUTAGES_IN_A_ROW) -> None:
        self._in_a_row = in_a_row
        self._row = 0
        self._first: Unavailable | Rejected | None = None

    async def give(self, turn: Awaitable[Outcome]) -> Outcome | None:
        """What the turn gives; None when a service was not there, or its data were refused.

        Raises:
            Unavailable: too many turns in a row have failed.
        """
        try:
            outcome = await turn
        except Unavailable as outage:
            self._first = self._first or outage
            self._row += 1
            if self._row >= self._in_a_row:
                raise
            return None
        except Rejected as reason:
            # The service is there: this is one thing's own trouble.
            self._first, self._row = self._first or reason, 0
            return None
        self._row = 0
        return outcome

    def end(self) -> None:
        """Raise the first outage or refusal, if there was one: whoever called has to come again."""
        if self._first is not None:
            raise self._first


async def each(items: Iterable[Item], act: Callable[[Item], Awaitable[Outcome]]) -> list[Outcome]:
    """What ``act`` gives for every item, in order.

    Raises:
        Unavailable: the first outage, once every item had its turn; sooner when several in a row failed.
        Rejected: the same, when a refusal came first.
    """
    turns, outcomes = Turns(), []
    for item in items:
        outcome = await turns.give(act(item))
        if outcome is not None:
            outcomes.append(outcome)
    turns.end()
    return outcomes
