"""What a trial must not leave behind: open transactions, temporary tables, descriptors, memory."""

import asyncio

import psutil

from tests.kills.workers import Worker
from tests.kills.world import World

MOST_RSS_BYTES = 700 << 20
MOST_DESCRIPTORS = 300
_OPEN = """
    SELECT pid, application_name, state, now() - xact_start AS age FROM pg_stat_activity
    WHERE application_name LIKE 'dataharvest%' AND state LIKE 'idle in transaction%'
      AND xact_start < now() - interval '15 seconds'
"""
_TEMPORARY = """
    SELECT c.relname FROM pg_class c WHERE c.relpersistence = 't' AND c.relkind = 'r'
"""


async def complaints_about(made: World) -> list[str]:
    """Everything that should not be there."""
    ledger = made.witness.ledger
    found = [f"transaction left open: {dict(row)}" for row in await ledger.fetch(_OPEN)]
    for _ in range(20):
        temporary = await ledger.fetch(_TEMPORARY)
        if not temporary:
            break
        # A judgement may be under way.
        await asyncio.sleep(0.1)
    found += [f"temporary table left: {row['relname']}" for row in temporary]
    return found + [sentence for worker in made.crew.alive for sentence in _complaints_about_worker(worker)]


def _complaints_about_worker(worker: Worker) -> list[str]:
    try:
        process = psutil.Process(worker.pid)
        rss, descriptors = process.memory_info().rss, process.num_fds()
    except psutil.NoSuchProcess:
        return []
    checks = {
        f"{worker.log.name} holds {rss >> 20} MiB": rss > MOST_RSS_BYTES,
        f"{worker.log.name} holds {descriptors} descriptors": descriptors > MOST_DESCRIPTORS,
    }
    return [sentence for sentence, is_bad in checks.items() if is_bad]
