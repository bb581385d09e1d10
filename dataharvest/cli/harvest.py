"""`dataharvest harvest`: from a folder of files to the messages that they lead to, in one line."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from dataharvest.errors import DataHarvestError

WRONG_USAGE, FAILED, INTERRUPTED, TERMINATED = 2, 1, 130, 143


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--tenant", required=True, help="Whose files they are.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the messages to this file, not to stdout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=600, show_default=True, help="Seconds to wait.")
@click.option("--workers", "worker_count", type=click.IntRange(min=1, max=64), default=1, show_default=True,
              help="Workers to start when none runs.")  # fmt: skip
def harvest(directory: Path, tenant: str, out: Path | None, timeout_s: float, worker_count: int) -> None:
    """Upload DIR's files, wait until their sets are published, and write the messages as JSON lines.

    Starts what is not running and ends the workers it started. Exit codes: 0 published, 3 blocked, rejected or
    incomplete, 4 not done in time, 2 wrong usage, 1 anything else.
    """
    termination = _Termination()
    try:
        code = _run(directory, tenant, out, timeout_s=timeout_s, worker_count=worker_count)
    except KeyboardInterrupt:
        click.echo("dataharvest harvest: interrupted; what is uploaded is carried on by the next worker", err=True)
        code = TERMINATED if termination.asked else INTERRUPTED
    _leave(code)


def _run(directory: Path, tenant: str, out: Path | None, *, timeout_s: float, worker_count: int) -> int:
    import asyncio

    import asyncpg

    from dataharvest.entities import all_entities
    from dataharvest.harvest.display import say
    from dataharvest.harvest.folder import WrongUsage, plan_uploads
    from dataharvest.harvest.foundation import lay_foundation
    from dataharvest.harvest.run import Wishes
    from dataharvest.harvest.run import harvest as carry_out

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        _require_writable(out)
        plan = plan_uploads(directory, tenant=tenant, entities=all_entities())
        for name in plan.skipped:
            say(f"skipped: {name}")
        foundation = lay_foundation(say)
        code = asyncio.run(carry_out(plan, Wishes(out=out, timeout_s=timeout_s, worker_count=worker_count), foundation))
    except WrongUsage as error:
        return _fail(WRONG_USAGE, error)
    except (DataHarvestError, OSError, asyncpg.PostgresError) as error:
        return _fail(FAILED, error)
    if foundation.is_embedded:
        say("the stack stays up; `dataharvest stack down` stops it")
    return code


def _require_writable(out: Path | None) -> None:
    from dataharvest.harvest.folder import WrongUsage

    if out is not None and not os.access(out if out.exists() else out.resolve().parent, os.W_OK):
        raise WrongUsage(f"{out} cannot be written")


def _fail(code: int, error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        # Whoever reads our output has seen enough.
        return code
    click.echo(f"dataharvest harvest: {str(error) or type(error).__name__}".splitlines()[0], err=True)
    return code


class _Termination:
    """Turns SIGTERM and SIGHUP into what Ctrl-C does, so that there is one way to end early."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.raise_signal(signal.SIGINT)


def _leave(code: int) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or FAILED
    sys.stderr.flush()
    # A thread may be in the middle of an upload that nobody wants any more; leaving as usual would wait for it.
    os._exit(code)
