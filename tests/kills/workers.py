"""Workers as the operating system sees them: started, watched and killed by process id."""

import asyncio
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.programs import start_program

STUCK = 75
"""What a worker's watchdog ends it with."""


class Worker:
    """One ``dataharvest worker``; ``words`` may name another command."""

    def __init__(self, *, environment: Mapping[str, str], log: Path, words: tuple[str, ...] = ("worker",)) -> None:
        self.log = log
        self.started_at = time.monotonic()
        self.was_asked = False
        self.was_asked_early = False
        self._process = start_program(*words, environment=environment, output=log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with; negative: by which signal."""
        return self._process.poll()

    @property
    def listens(self) -> bool:
        """Whether it has come so far that it ends by itself when it is asked to."""
        return b"worker starts" in self.log.read_bytes()

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds; 0 when it has ended."""
        try:
            used = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(used.user + used.system)

    def kill(self) -> bool:
        """End it at once (SIGKILL); False when it had ended before."""
        if not self.is_alive:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        if self.is_alive:
            self.was_asked_early = self.was_asked_early or not self.listens
            self.was_asked = True
            self._process.send_signal(signal.SIGTERM)

    @property
    def ended_well(self) -> bool:
        """Whether it runs, ended by itself with 0, or was killed; asked before it listened, it ends by the signal."""
        return self.exit_code in (None, 0, -signal.SIGKILL) or (self.was_asked_early and self.exit_code == -signal.SIGTERM)

    @property
    def needed_watchdog(self) -> bool:
        """Whether it was asked to end, and did so only when its watchdog had waited long enough."""
        return self.was_asked and self.exit_code == STUCK

    async def ended(self, *, within_s: float) -> int | None:
        """The exit code; None when it still runs after ``within_s`` seconds."""
        deadline = time.monotonic() + within_s
        while self.is_alive and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return self.exit_code


class Crew:
    """The workers of one application, with one data directory for each."""

    def __init__(self, *, home: Path, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._logs = home / "logs"
        self.tables = home / "tables"
        self.members: list[Worker] = []
        self.stubborn: list[str] = []
        self._count = 0
        self._forgiven: set[int] = set()

    @property
    def alive(self) -> list[Worker]:
        """Those that have not ended."""
        return [worker for worker in self.members if worker.is_alive]

    def start(self, **settings: str) -> Worker:
        """One more worker."""
        self._count += 1
        environment = {**self._environment, "DATAHARVEST_DATA_DIR": str(self.tables), **settings}
        worker = Worker(environment=environment, log=self._logs / f"worker-{self._count:02d}.log")
        self.members.append(worker)
        return worker

    def forgive(self, worker: Worker) -> None:
        """Let this worker's end be no violation, however it ends."""
        self._forgiven.add(worker.pid)

    def forget_tables(self) -> None:
        """Remove every data directory; only while no worker runs that uses one."""
        assert not self.alive
        shutil.rmtree(self.tables, ignore_errors=True)

    def unexpected_ends(self) -> list[str]:
        """Workers that ended by themselves and not well, and those that did not end when they were asked to."""
        others = [one for one in self.members if one.pid not in self._forgiven and not one.needed_watchdog]
        badly = [f"{one.log.name} ended with {one.exit_code}" for one in others if not one.ended_well]
        return badly + [f"{name} did not end when asked to" for name in self.stubborn]

    async def end_all(self, *, within_s: float = 35) -> None:
        """SIGTERM for everyone, SIGKILL for those who do not listen; their logs' names are kept in ``stubborn``."""
        for worker in self.alive:
            worker.ask_to_end()
        for worker in self.members:
            if await worker.ended(within_s=within_s) is None:
                self.stubborn.append(worker.log.name)
                worker.kill()
