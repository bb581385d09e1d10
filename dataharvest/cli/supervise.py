"""`dataharvest supervise`: keep a process running, as compose or systemd would."""

import signal
import subprocess
import sys
import time
from types import FrameType

import click

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_HEALTHY_AFTER_S = 60.0
_GRACE_S = 30.0
_NEVER_AGAIN = (0, 2, 78)
"""Done, wrong usage, misconfigured: starting again would change nothing."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def supervise(command: tuple[str, ...]) -> None:
    """Run COMMAND (for example `worker`) and start it again when it ends with an error."""
    sys.exit(keep_running([sys.argv[0], *command]))


def keep_running(command: list[str]) -> int:
    """Run the command again and again until it ends well or is told to stop; returns its last exit code.

    After TERM or INT the child has 30 seconds to end before it is killed.
    """
    stop = _StopFlag()
    delay_s = _FIRST_DELAY_S
    while True:
        started_at = time.monotonic()
        code = _run(command, stop)
        if stop.asked or code in _NEVER_AGAIN:
            return code
        delay_s = _FIRST_DELAY_S if time.monotonic() - started_at > _HEALTHY_AFTER_S else min(delay_s * 2, _LONGEST_DELAY_S)
        click.echo(f"dataharvest supervise: `{command[1]}` ended with {code}, starting it again in {delay_s:g} s", err=True)
        if stop.wait(delay_s):
            return code


class _StopFlag:
    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def wait(self, delay_s: float) -> bool:
        end = time.monotonic() + delay_s
        while not self.asked and time.monotonic() < end:
            time.sleep(0.1)
        return self.asked


def _run(command: list[str], stop: _StopFlag) -> int:
    # In a session of its own, so that Ctrl-C reaches the child once, through us.
    child = subprocess.Popen(command, start_new_session=True)
    kill_at: float | None = None
    while True:
        try:
            return child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stop.asked and kill_at is None:
                child.terminate()
                kill_at = time.monotonic() + _GRACE_S
            elif kill_at is not None and time.monotonic() > kill_at:
                child.kill()
