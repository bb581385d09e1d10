"""What every embedded service has in common: its states, and how it is started, stopped and killed."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from dataharvest.errors import Unavailable
from dataharvest.stack import ports, processes
from dataharvest.stack.home import StackHome
from dataharvest.stack.processes import Account, Identity

START_TIMEOUT_S = 90.0
POLL_S = 0.05
LOG_LIMIT_BYTES = 20_000_000
LOG_TAIL_BYTES = 2_000

ServiceState = Literal["up", "not answering", "crashed", "stopped"]


class Service(ABC):
    """One embedded server process of one stack."""

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """The ports it listens on, the one that clients use first."""

    program: ClassVar[str]
    """The name of its process, for finding one that was started but not recorded."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace_s: ClassVar[float] = 8.0

    def __init__(self, home: StackHome) -> None:
        self.home = home
        self.directory = home.path / self.name
        self.log = home.log(self.name)

    @abstractmethod
    def prepare_data(self) -> None:
        """Make what the server needs before its first start; nothing happens when that is there."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def distinctive_argument(self) -> str:
        """The argument of ``command`` that no other stack's server has."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server, whose process runs, does its work for clients."""

    def process_environment(self) -> Mapping[str, str]:
        """The environment of the server process."""
        return os.environ

    def account(self) -> Account | None:
        """Whom the server runs as; None: as ourselves."""
        return None

    @property
    def port(self) -> int:
        """The port that clients use."""
        return self.home.state().ports[self.port_names[0]]

    @property
    def address(self) -> str:
        """Host and port that clients use; empty when the service was never started."""
        port = self.home.state().ports.get(self.port_names[0])
        return "" if port is None else f"{ports.HOST}:{port}"

    @property
    def identity(self) -> Identity | None:
        """The running server process; None when it does not run."""
        recorded = self.home.recorded(self.name)
        return recorded if recorded is not None and recorded.is_alive() else None

    @property
    def pid(self) -> int | None:
        """The running server's process id; None when it does not run."""
        identity = self.identity
        return None if identity is None else identity.pid

    def state(self) -> ServiceState:
        """How the service is: ``crashed`` means that it was started and ended without being stopped."""
        if self.identity is not None:
            return "up" if ports.answers(self.port) else "not answering"
        return "stopped" if self.home.recorded(self.name) is None else "crashed"

    def start(self) -> None:
        """Start the server if it does not run, and wait until it is ready.

        Raises:
            Unavailable: it ended while starting, or is not ready in time.
        """
        with self.home.lock():
            self.launch()
            self.wait_until_ready()

    def stop(self) -> None:
        """End the server, letting it finish first."""
        with self.home.lock():
            self.end()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        identity = self.identity
        if identity is not None:
            processes.kill(identity)

    def launch(self) -> None:
        """Start the server process if it does not run. Only under the home's lock."""
        if self.identity is not None or self._adopt():
            return
        self._wait_for_predecessor()
        self.home.make()
        self._choose_ports()
        self.prepare_data()
        self._shorten_log()
        pid = processes.launch(
            self.command(),
            log=self.log,
            environment=self.process_environment(),
            directory=self.directory,
            account=self.account(),
        )
        # A server that has already ended again is recorded too, so that it counts as crashed.
        self.home.record(self.name, processes.identify(pid) or Identity(pid, "ended"))

    def end(self) -> None:
        """End the server process and forget it. Only under the home's lock."""
        identity = self.identity
        if identity is not None:
            processes.end(identity, politely=self.stop_signal, grace_s=self.grace_s)
        self.home.record(self.name, None)

    def wait_until_ready(self) -> None:
        """Return once the server does its work.

        Raises:
            Unavailable: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (ports.answers(self.port) and self.is_ready()):
            if self.identity is None:
                raise Unavailable(f"{self.name} ended while starting: {self._last_log_line()} (see {self.log})")
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} is not ready after {START_TIMEOUT_S:.0f} s (see {self.log})")
            time.sleep(POLL_S)

    def _wait_for_predecessor(self) -> None:
        # One that was killed just now may still hold its port, which would make us choose another one.
        recorded = self.home.recorded(self.name)
        if recorded is not None:
            processes.wait_until_gone(recorded, timeout_s=processes.KILL_WAIT_S)

    def _adopt(self) -> bool:
        """Whether a server of this stack runs unrecorded, because an earlier start was killed before it recorded it."""
        found = processes.find_server(self.program, argument=self.distinctive_argument())
        if found is None:
            return False
        if not self.home.state().ports.keys() >= set(self.port_names):
            # Ports are recorded before a start: this server's home was deleted under it, and its data with it.
            processes.kill(found)
            return False
        self.home.record(self.name, found)
        return True

    def _choose_ports(self) -> None:
        with self.home.changing() as state:
            for name in self.port_names:
                others = [port for other, port in state.ports.items() if other != name]
                state.ports[name] = ports.keep_or_choose(state.ports.get(name), taken=others)

    def _shorten_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _last_log_line(self) -> str:
        lines = _tail(self.log).strip().splitlines()
        return lines[-1] if lines else "it wrote nothing to its log"


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")
