"""The program as processes that are forked from one which has imported it already.

Importing costs a worker more processor time than everything else it does in a short test, and there are hundreds of processes.
Whatever is about the start itself, or about what others see of a process (its command line, its environment), starts ``PROGRAM``.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Protocol

from dataharvest.failpoints import VARIABLE

PROGRAM = str(Path(sys.executable).with_name("dataharvest"))
READ_AT_IMPORT = frozenset({"PYTHONPATH", "LD_PRELOAD", VARIABLE})
"""Variables that come too late for a process that has imported everything: with one of them it is started from nothing."""

_FORKED_FROM = multiprocessing.get_context("forkserver")
_FORKED_FROM.set_forkserver_preload(["tests.preloaded"])
# Two threads that ask for the end of one process would take its exit code away from each other.
_ASKING = Lock()


class Program(Protocol):
    """``dataharvest WORDS`` on its way; the part of subprocess.Popen that both kinds of process have."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative: the signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; subprocess.TimeoutExpired when it does not within ``timeout`` seconds."""

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing when it has ended."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it at once."""


def start_program(*words: str, environment: Mapping[str, str], output: Path, errors: Path | None = None) -> Program:
    """Start ``dataharvest WORDS`` in a session of its own; ``environment`` is added to ours.

    Args:
        output: file that its output is added to.
        errors: the same for its errors; without, they go where the output goes.
    """
    whole, errors = {**os.environ, **environment}, errors or output
    if READ_AT_IMPORT.isdisjoint(environment):
        return _Forked(words, whole, output, errors)
    with output.open("ab") as out, errors.open("ab") as err:
        return subprocess.Popen([PROGRAM, *words], env=whole, stdout=out, stderr=err, start_new_session=True)


class _Forked:
    def __init__(self, words: tuple[str, ...], environment: dict[str, str], output: Path, errors: Path) -> None:
        arguments = (words, environment, str(Path.cwd()), str(output), str(errors))
        self._process = _FORKED_FROM.Process(target=_become_the_program, args=arguments)
        with _ASKING:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        with _ASKING:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        if not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("dataharvest", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_program(
    *words: str, environment: Mapping[str, str], timeout_s: float = 120, check: bool = False
) -> "subprocess.CompletedProcess[str]":
    """``dataharvest WORDS`` to its end, with its output as text."""
    with TemporaryDirectory(prefix="dataharvest-ran-") as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        program = start_program(*words, environment=environment, output=output, errors=errors)
        try:
            code = program.wait(timeout_s)
        finally:
            program.kill()
        done = subprocess.CompletedProcess(["dataharvest", *words], code, output.read_text("utf-8"), errors.read_text("utf-8"))
    if check:
        done.check_returncode()
    return done


def _become_the_program(words: Sequence[str], environment: dict[str, str], folder: str, output: str, errors: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, path in ((1, output), (2, errors)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = [PROGRAM, *words]

    from dataharvest.cli import main  # noqa: PLC0415 - the process that forks must be the one that has imported it

    main()
