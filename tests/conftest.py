"""The real services and workers that tests share.

``stack_environment``
    Environment of commands and workers, with ``DATAHARVEST_HOME`` and every address, as a dict of strings. The embedded stack
    comes up once per session in a temporary home, migrated and with all topics, and goes down at the end.
``running_workers``
    ``with running_workers(2, DATAHARVEST_CHUNK_BYTES="4096") as workers:`` runs that many ``dataharvest worker`` processes and
    ends them with the block; usable from fixtures of any scope. Each is a `Worker`: ``kill()``, ``terminate()``, ``log_text()``.
``dataharvest``
    ``dataharvest("status", "--json")`` runs the program as a user of that stack would, with nothing but ``DATAHARVEST_HOME`` and
    the variables given as keywords, and returns the completed process, as text.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import settings

from dataharvest.adapters.kafka_admin import apply, existing_topics
from dataharvest.adapters.postgres.schema import migrate
from dataharvest.harvest.workers import member_count
from dataharvest.stack import Stack
from dataharvest.topics import difference, load_topics
from tests.programs import Program, run_program, start_program

# A slow machine is not a failure: what takes too long is stopped by pytest-timeout.
settings.register_profile("dataharvest", deadline=None)
settings.register_profile("drill", deadline=None, max_examples=20_000)
settings.load_profile("dataharvest")

NO_BROWSER = "browser tests NOT RUN"
_START_S, _END_S = 60.0, 20.0
_worker_numbers = count()
_TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Worker:
    """A worker process that a test started."""

    process: Program
    log: Path

    def terminate(self) -> int:
        """Ask it to end (SIGTERM) and wait; its exit code."""
        self.process.terminate()
        return self.process.wait(_END_S)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    def log_text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class RunWorkers(Protocol):
    """Starts workers for the length of a block."""

    def __call__(self, worker_count: int = 1, **variables: str) -> AbstractContextManager[list[Worker]]:
        """Workers that have joined the group, with ``variables`` added to their environment."""


Command = Callable[..., "subprocess.CompletedProcess[str]"]
Answer = TypeVar("Answer")


@pytest.fixture(scope="session")
def stack_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    stack = Stack(tmp_path_factory.mktemp("shared") / "home")
    try:
        stack.up()
        environment = {"DATAHARVEST_HOME": str(stack.home.path), **stack.environment()}
        _wait_for(_prepare(environment))
        yield environment
    finally:
        stack.erase()


def _wait_for(work: Coroutine[Any, Any, Answer]) -> Answer:
    # In a thread, so that it also works inside an async test.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _prepare(environment: dict[str, str]) -> None:
    await migrate(environment["DATAHARVEST_DATABASE_URL"])
    broker = environment["DATAHARVEST_BROKER"]
    await apply(broker, difference(load_topics().values(), await existing_topics(broker)))


@pytest.fixture(scope="session")
def running_workers(stack_environment: dict[str, str]) -> RunWorkers:
    @contextmanager
    def run(worker_count: int = 1, **variables: str) -> Iterator[list[Worker]]:
        environment = {**stack_environment, **variables}
        workers = [_start(environment) for _ in range(worker_count)]
        try:
            _wait_until_joined(environment, workers)
            yield workers
        finally:
            _end(workers)

    return run


def _start(environment: dict[str, str]) -> Worker:
    log = Path(environment["DATAHARVEST_HOME"], "logs", f"test-worker-{next(_worker_numbers)}.log")
    return Worker(start_program("worker", environment=environment, output=log), log)


def _wait_until_joined(environment: dict[str, str], workers: list[Worker]) -> None:
    group = environment.get("DATAHARVEST_APP_ID", "dataharvest")
    deadline = time.monotonic() + _START_S
    while _wait_for(member_count(environment["DATAHARVEST_BROKER"], group)) < len(workers):
        for worker in workers:
            assert worker.process.poll() is None, worker.log_text()[-2000:]
        assert time.monotonic() < deadline, workers[0].log_text()[-2000:]
        time.sleep(0.1)


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        try:
            worker.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            worker.kill()


@pytest.fixture(scope="session")
def dataharvest(stack_environment: dict[str, str]) -> Command:
    def run(*arguments: str, timeout_s: float = 120, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = {"DATAHARVEST_HOME": stack_environment["DATAHARVEST_HOME"], **variables}
        return run_program(*arguments, environment=environment, timeout_s=timeout_s)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that side by side none is left over at the end."""
    longest = {_TESTS / "e2e": 0, _TESTS / "web": 1}
    items.sort(key=lambda one: next((place for folder, place in longest.items() if one.path.is_relative_to(folder)), 2))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where nobody overlooks it that the browser tests were left out; only here are the results of all tests known."""
    if any(NO_BROWSER in str(one.longrepr) for one in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(NO_BROWSER, red=True, bold=True)
