"""The services that the commands of `dataharvest quarantine` work with."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from dataharvest.cli import Failure, Mistake

if TYPE_CHECKING:
    from dataharvest.services import Services

Answer = TypeVar("Answer")

_LOCK_NOT_AVAILABLE = "55P03"


def with_services(work: "Callable[[Services], Awaitable[Answer]]") -> Answer:
    """What the work comes to; what was typed wrongly, or is busy, is one sentence.

    Raises:
        Mistake: what was typed can't be done.
        Failure: somebody else is at the set.
        DataHarvestError: a service is missing, or the work is refused.
    """
    # Clients of the services log every failed connection; what matters is said in one sentence.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_run(work))


async def _run(work: "Callable[[Services], Awaitable[Answer]]") -> Answer:
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.errors import Rejected, Unavailable
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    connected = connect(load_settings(), role="quarantine")
    try:
        await require_current_schema(connected.database)
        return await work(connected.services)
    except Rejected as reason:
        if reason.rule == "no_such_entry":
            raise Mistake(f"{reason.message} `dataharvest quarantine list --state all` shows those there are.") from reason
        if reason.rule in ("bad_correction", "corrections", "unknown_escape"):
            raise Mistake(reason.message) from reason
        raise
    except Unavailable as outage:
        if outage.details.get("sqlstate") == _LOCK_NOT_AVAILABLE:
            raise Failure("Somebody else is at this set just now; nothing was changed: try again in a moment.") from outage
        raise
    finally:
        await connected.close()
