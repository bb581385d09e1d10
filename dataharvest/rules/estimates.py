"""When a step will be done, by its speed so far."""

from datetime import datetime, timedelta

_LONGEST = timedelta(days=7)
"""What would take longer is not foreseen but guessed."""


def estimated_end(*, done: int, total: int | None, since: datetime | None, now: datetime) -> datetime | None:
    """When ``total`` parts are done if the rest takes as long as the ``done`` ones took since ``since``.

    None when that can't be said: nothing is done, or all is; the total or the beginning is not known; or it is too far away.
    """
    if since is None or total is None or not 0 < done < total or now <= since:
        return None
    left = (now - since) / done * (total - done)
    return now + left if left <= _LONGEST else None
