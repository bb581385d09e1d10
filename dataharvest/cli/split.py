"""`dataharvest split`: the chunk producer as a process of its own."""

import asyncio
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.watchdog import Vitals

_BEAT_S = 1.0


@click.command()
def split() -> None:
    """Split deliveries into chunks, until it is told to stop; set DATAHARVEST_SPLIT_IN_WORKER=false on the workers then."""
    asyncio.run(_split())


async def _split() -> None:
    from dataharvest import tracing
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.app import measuring_loop, split_loop
    from dataharvest.delivery import run_loop, until_available
    from dataharvest.logs import configure_logging
    from dataharvest.metrics_endpoint import serve_metrics
    from dataharvest.services import connect
    from dataharvest.settings import load_settings
    from dataharvest.watchdog import Vitals, Watchdog

    settings = load_settings()
    configure_logging(settings.log_format)
    asyncio.get_running_loop().set_default_executor(_threads(settings.split_niceness))
    connected = connect(settings, role="split")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await until_available(lambda: require_current_schema(connected.database), what="PostgreSQL")
    close_metrics = serve_metrics(settings.metrics_port, host=settings.metrics_host)
    tracing.switch_on_for(settings.traces_url)
    vitals = Vitals(limit_s=settings.watchdog_s)
    loop = split_loop(connected, settings, stopping=stop.is_set, come_round=vitals.come_round)
    tasks = [asyncio.create_task(run_loop(loop.run, name="split", stopping=stop.is_set)), asyncio.create_task(stop.wait())]
    tasks.append(asyncio.create_task(_keep_beating(vitals)))
    watchdog = Watchdog(vitals, broker=settings.broker, loop=asyncio.get_running_loop())
    watchdog.start()
    if close_metrics is not None:
        tasks.append(asyncio.create_task(measuring_loop(connected.measuring, stopping=stop.is_set)))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    watchdog.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connected.close()
    if close_metrics is not None:
        close_metrics()
    tracing.switch_off()


def _threads(niceness: int) -> ThreadPoolExecutor:
    # Where cores are short, what has been cut goes before what is to be cut: a small set's many short steps, at the workers and
    # in the database, would wait for a large file's long ones. Its short steps here wait for nothing: only the threads that hash
    # and pack step back. Each keeps memory of its own, so there are no more of them than can run.
    return ThreadPoolExecutor(os.cpu_count(), initializer=partial(step_back, niceness), thread_name_prefix="aside")


def step_back(niceness: int) -> None:
    """Let this thread step back by so much from where it is, as `os.nice` does for a process; that is always allowed."""
    # Elsewhere a thread has no niceness of its own.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + niceness))


async def _keep_beating(vitals: "Vitals") -> None:
    while True:
        # It reads no topic: nothing can wait for it there.
        vitals.beat(is_flowing=True, is_behind=False)
        await asyncio.sleep(_BEAT_S)
