"""F9, F14 and F18: members that come and go, tables that get lost, and a sweep every second."""

import asyncio
import tempfile
from functools import partial
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.generator import write_transactions
from benchmarks.swept_load import EVERY_SECOND, load_under_sweeps
from dataharvest.pipeline import TABLE_NAME
from dataharvest.settings import APP_ID
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import END_S, Trial

CHANGELOG = f"{APP_ID}-{TABLE_NAME}-changelog"
LISTENS_S = 6.0
_ROW_BYTES = 48


async def storm(trial: Trial, count: int, scale: Scale) -> None:
    """Workers join and leave under load, from one to four and back, faster than the group can settle."""
    for _ in range(count):
        await trial.staff(1)
        await trial.feed(scale.row_count)
        async with trial.fault("F9", "workers join and leave, from one to four and back") as entry:
            await trial.until_stored(0.05)
            for _ in range(3):
                trial.start()
                await trial.pause(2.5)
            # One that has only just been started does not listen yet.
            await trial.all_joined()
            leavers = trial.world.crew.alive[:3]
            for one in leavers:
                one.ask_to_end()
                await trial.pause(2.5)
            codes = [await one.ended(within_s=END_S) for one in leavers]
            entry.did = f"the leavers ended with {codes}"
            if not all(one.exit_code == 0 or one.needed_watchdog for one in leavers):
                trial.world.witness.violations.other.add(f"F9: the leavers ended with {codes}")


async def lost_tables(trial: Trial, count: int, scale: Scale) -> None:
    """The only worker is killed, and its table's directory is gone, or its changelog with it."""
    for number in range(count):
        await trial.staff(1)
        await trial.feed(scale.row_count // max(1, count))
        what = ("data directory", "data directory and its changelog")[number % 2]
        async with trial.fault("F14", f"the table's {what} deleted"):
            await trial.until_stored(0.3)
            trial.world.crew.alive[0].kill()
            trial.world.crew.forget_tables()
            if number % 2:
                await _delete_changelog(trial)
            trial.start()


async def _delete_changelog(trial: Trial) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.world.environment["DATAHARVEST_BROKER"])
    await admin.start()
    try:
        await admin.delete_topics([CHANGELOG])
    finally:
        await admin.close()
    await trial.world.run("topics", "apply")


async def swept(trial: Trial, count: int, scale: Scale) -> None:
    """A sweep every second while one long file is read: no chunk may be sent a second time."""
    await trial.staff(1, **EVERY_SECOND, DATAHARVEST_CHUNK_BYTES="1048576")
    await asyncio.sleep(LISTENS_S)
    for number in range(count):
        tenant = f"f18-{number}"
        async with trial.fault("F18", f"a sweep every second during {scale.bulk_bytes >> 20:,} MiB") as entry:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "transactions_20261123.csv"
                written = partial(write_transactions, path, rows=scale.bulk_bytes // _ROW_BYTES, seed=trial.seed)
                oracle = await asyncio.to_thread(written)
                found = await load_under_sweeps(trial.world.environment, path, oracle, tenant=tenant)
            entry.did = (
                f"{found.chunk_count} chunks, {found.sent_again} sent again, {found.sweep_count} sweeps, {found.seconds:.0f} s"
            )
            entry.has_happened, entry.recovery_s = not found.is_void, 0.0
            if found.sent_again:
                trial.world.witness.violations.other.add(f"F18: {entry.did}")


F9 = Kind("F9", "rebalance storm", times(1, 1, 5), storm)
F14 = Kind("F14", "the table's directory or changelog deleted", times(1, 2, 10), lost_tables)
F18 = Kind("F18", "a sweep every second during a long load", times(1, 1, 3), swept)
