"""How a server process is started, recognised again later, and ended."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

import psutil

POLL_S = 0.03
KILL_WAIT_S = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# The shell starts the server, says its pid and ends, so that the server is nobody's child but init's: it outlives
# us, and no zombie of it stays with a long-running caller. The server writes to stderr, which is its log.
START_DETACHED = '"$@" >&2 & echo $!'


@dataclass(frozen=True)
class Account:
    """An operating-system account that a server runs under."""

    uid: int
    gid: int


class AccountArguments(TypedDict, total=False):
    """What ``subprocess`` takes to run a command under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Identity:
    """One process and no later one that gets the same pid."""

    pid: int
    birth: str
    """Boot and moment of the process's start, as the kernel counts them; not changed by setting the clock."""

    def is_alive(self) -> bool:
        """Whether exactly this process still runs; one that has ended, or is about to, does not."""
        found = _look_at(self.pid)
        return found is not None and found.birth == self.birth and not found.is_ending

    def is_gone(self) -> bool:
        """Whether nothing of this process is left, no open port either."""
        found = _look_at(self.pid)
        return found is None or found.birth != self.birth or (found.is_ending and found.thread_count <= 1)


@dataclass(frozen=True)
class _Sight:
    birth: str
    is_ending: bool
    thread_count: int
    """A killed server counts as ended (a zombie) when its first thread has, while the others still hold its files."""


def birth_of(pid: int) -> str | None:
    """What tells the process with this pid from every other that had or will have it; None when it does not run."""
    found = _look_at(pid)
    return None if found is None or found.is_ending else found.birth


def _look_at(pid: int) -> _Sight | None:
    if not BOOT_ID.exists():
        return _look_by_clock(pid)
    try:
        # The name, in brackets, may itself hold blanks and brackets: count the fields after the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, thread_count, started_ticks = fields[0], int(fields[17]), fields[19]
    return _Sight(f"{_boot_id()}:{started_ticks}", state in {"Z", "X"}, thread_count)


@cache
def _boot_id() -> str:
    return BOOT_ID.read_text().strip()


def _look_by_clock(pid: int) -> _Sight | None:
    try:
        process = psutil.Process(pid)
        return _Sight(str(process.create_time()), process.status() == psutil.STATUS_ZOMBIE, 1)
    except psutil.NoSuchProcess:
        return None


def identify(pid: int) -> Identity | None:
    """The identity of the running process with this pid, or None."""
    birth = birth_of(pid)
    return None if birth is None else Identity(pid, birth)


def launch(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], directory: Path, account: Account | None = None
) -> int:
    """Start a server in a session of its own, writing to the end of ``log``; gives its pid.

    ``account`` is whom it runs as; only root can choose one.
    """
    with log.open("ab") as log_file:
        started = subprocess.run(
            ["/bin/sh", "-c", START_DETACHED, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            check=True,
            **as_account(account),
        )
    return int(started.stdout)


def as_account(account: Account | None) -> AccountArguments:
    """The arguments that make ``subprocess`` run a command as ``account``, with none of our own groups kept."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def find_server(executable: str, *, argument: str) -> Identity | None:
    """The running server that was started with exactly this argument, for example its data directory."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == executable and argument in (process.info["cmdline"] or ()):
            return identify(process.pid)
    return None


def running_in(directory: Path, *, program: str) -> list[psutil.Process]:
    """The processes of ``program`` whose working directory is ``directory``."""
    wanted = (program, str(directory))
    found = psutil.process_iter(["name", "cwd"])
    return [process for process in found if (process.info["name"], process.info["cwd"]) == wanted]


def end(identity: Identity, *, politely: signal.Signals, grace_s: float) -> bool:
    """Ask a process to end, and kill it when it has not after ``grace_s`` seconds; True if it ended by itself."""
    if signal_if_alive(identity, politely) and wait_until_gone(identity, timeout_s=grace_s):
        return True
    kill(identity)
    return False


def kill(identity: Identity) -> None:
    """End a process at once (SIGKILL) and wait until nothing of it is left."""
    signal_if_alive(identity, signal.SIGKILL)
    wait_until_gone(identity, timeout_s=KILL_WAIT_S)


def signal_if_alive(identity: Identity, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False when it no longer runs."""
    if not identity.is_alive():
        return False
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(identity: Identity, *, timeout_s: float) -> bool:
    """Whether nothing is left of the process within ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not identity.is_gone():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
