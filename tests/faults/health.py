"""What a trial must not leave behind: open transactions, temporary tables, descriptors, memory."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.kills.world import World

MOST_RSS_BYTES = 700 << 20
MOST_DESCRIPTORS = 300
GROWTH_BYTES, MORE_DESCRIPTORS = 200 << 20, 100
"""What a worker may gain between two moments at rest: one that has only just begun fills its caches and pools."""
_OPEN = """
    SELECT pid, application_name, state, now() - xact_start AS age FROM pg_stat_activity
    WHERE application_name LIKE 'dataharvest%' AND state LIKE 'idle in transaction%'
      AND xact_start < now() - interval '15 seconds'
"""
_TEMPORARY = """
    SELECT c.relname FROM pg_class c WHERE c.relpersistence = 't' AND c.relkind = 'r'
"""


@dataclass(frozen=True)
class Holding:
    """What a worker holds."""

    rss_bytes: int
    descriptors: int


def holdings(made: World) -> dict[int, Holding]:
    """What every living worker holds now, by process id."""
    found = {}
    for worker in made.crew.alive:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(worker.pid)
            found[worker.pid] = Holding(process.memory_info().rss, process.num_fds())
    return found


async def complaints_about(made: World, *, before: Mapping[int, Holding]) -> list[str]:
    """Everything that should not be there, and all that has grown since ``before``, when everything was at rest too."""
    ledger = made.witness.ledger
    found = [f"transaction left open: {dict(row)}" for row in await ledger.fetch(_OPEN)]
    for _ in range(20):
        temporary = await ledger.fetch(_TEMPORARY)
        if not temporary:
            break
        # A judgement may be under way.
        await asyncio.sleep(0.1)
    found += [f"temporary table left: {row['relname']}" for row in temporary]
    now = holdings(made)
    return found + [one for pid, holding in now.items() for one in _complaints(pid, holding, before.get(pid, holding))]


def _complaints(pid: int, now: Holding, before: Holding) -> list[str]:
    grown = now.rss_bytes - before.rss_bytes
    checks = {
        f"worker {pid} holds {now.rss_bytes >> 20} MiB": now.rss_bytes > MOST_RSS_BYTES,
        f"worker {pid} holds {now.descriptors} descriptors": now.descriptors > MOST_DESCRIPTORS,
        f"worker {pid} has grown by {grown >> 20} MiB": grown > GROWTH_BYTES,
        f"worker {pid} has {now.descriptors} descriptors, {before.descriptors} before": (
            now.descriptors > before.descriptors + MORE_DESCRIPTORS
        ),
    }
    return [sentence for sentence, is_bad in checks.items() if is_bad]
