"""Which business dates a tenant's sets should be complete for by now."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

LOOK_BACK_DAYS = 40
"""A cut-off is at most 31 days after its business date; what is older was marked, or nobody was there to mark it."""


def due_sets(due_at: Callable[[date], datetime | None], *, now: datetime, since: datetime) -> Iterator[tuple[date, datetime]]:
    """Business dates whose cut-off fell between ``since`` and ``now``, with the cut-off, the oldest first.

    ``due_at`` gives the cut-off of a business date, or None when no files are due for it. A business date may be a day
    ahead of ``now`` in the sender's zone.
    """
    for days in range(LOOK_BACK_DAYS, -2, -1):
        day = now.date() - timedelta(days=days)
        due = due_at(day)
        if due is not None and since <= due <= now:
            yield day, due
