"""A server is recognised by more than its pid, and ended for certain."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataharvest.stack import processes
from dataharvest.stack.processes import Identity

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


class Started:
    """Starts Python programs as servers, and kills what is left of them at the end."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "server.log"
        self._directory = directory
        self._identities: list[Identity] = []

    def python(self, code: str, *arguments: str) -> Identity:
        pid = processes.launch(
            [sys.executable, "-c", code, *arguments], log=self.log, environment=os.environ, directory=self._directory
        )
        identity = processes.identify(pid)
        assert identity is not None
        self._identities.append(identity)
        return identity

    def wait_for_log(self, text: str) -> None:
        deadline = time.monotonic() + 10
        while text not in self.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill_all(self) -> None:
        for identity in self._identities:
            processes.kill(identity)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    programs = Started(tmp_path)
    yield programs
    programs.kill_all()


def test_a_process_is_itself() -> None:
    identity = processes.identify(os.getpid())

    assert identity is not None
    assert identity.is_alive()


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    assert not Identity(os.getpid(), "another boot:12345").is_alive()


def test_a_later_process_with_the_same_pid_is_not_signalled(started: Started) -> None:
    running = started.python(SLEEP)

    assert not processes.signal_if_alive(Identity(running.pid, "another boot:12345"), signal.SIGKILL)
    assert running.is_alive()


def test_a_launched_server_leads_a_life_of_its_own(started: Started) -> None:
    server = started.python(SLEEP)

    assert os.getsid(server.pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(server.pid, os.WNOHANG)


def test_what_a_server_prints_is_added_to_its_log(started: Started) -> None:
    started.log.write_text("before\n")

    started.python("import sys; print('out'); print('error', file=sys.stderr)")

    started.wait_for_log("out")
    started.wait_for_log("error")
    assert started.log.read_text().startswith("before\n")


def test_a_server_that_ends_when_asked_is_not_killed(started: Started) -> None:
    assert processes.end(started.python(SLEEP), politely=signal.SIGTERM, grace_s=10)


def test_a_server_that_does_not_listen_is_killed(started: Started) -> None:
    server = started.python(DEAF)
    started.wait_for_log("deaf")

    assert not processes.end(server, politely=signal.SIGTERM, grace_s=0.1)
    assert not server.is_alive()


def test_an_unrecorded_server_is_found_by_its_argument(started: Started, tmp_path: Path) -> None:
    server = started.python(SLEEP, str(tmp_path / "data"))
    program = Path(f"/proc/{server.pid}/comm").read_text().strip()

    assert processes.find_server(program, argument=str(tmp_path / "data")) == server
    assert processes.find_server(program, argument=str(tmp_path)) is None
