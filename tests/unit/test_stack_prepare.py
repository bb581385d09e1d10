"""Preparation runs side by side, says what is missing, and survives being interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataharvest.errors import Misconfigured
from dataharvest.stack.cache import built_whole, cache_directory
from dataharvest.stack.kafka_jars import KAFKA_VERSION, fetch_command
from dataharvest.stack.prepare import Step, Workshop, prepare
from dataharvest.stack.processes import birth_of

PREPARE_SLOWLY = """
import os, sys
from dataharvest.stack.cache import built_whole, cache_directory
from dataharvest.stack.prepare import Step, prepare

def carry_out(workshop, tell):
    with built_whole(cache_directory() / "tool") as partial:
        (partial / "half").write_text("1")
        command = [sys.executable, "-c", "import os, time; print(f'child {os.getpid()}', flush=True); time.sleep(60)"]
        workshop.run(command, environment=os.environ, tell=tell)

prepare([Step("tool", lambda: (cache_directory() / "tool").exists(), carry_out)])
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def step(name: str, carry_out: Callable[[Workshop, Callable[[str], None]], None]) -> Step:
    return Step(name, (cache_directory() / name).exists, carry_out)


def test_what_is_done_is_not_done_again() -> None:
    calls: list[str] = []

    def carry_out(_: Workshop, __: Callable[[str], None]) -> None:
        with built_whole(cache_directory() / "tool"):
            calls.append("built")

    prepare([step("tool", carry_out)])
    prepare([step("tool", carry_out)])

    assert calls == ["built"]


def test_steps_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def carry_out(_: Workshop, __: Callable[[str], None]) -> None:
        both.wait()

    prepare([step("one", carry_out), step("two", carry_out)])

    assert not both.broken


def test_a_step_that_cannot_go_on_ends_the_others_and_says_why() -> None:
    started = threading.Event()

    def slow(workshop: Workshop, _: Callable[[str], None]) -> None:
        command = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(60)"]
        workshop.run(command, environment=os.environ, tell=lambda _: started.set())

    def fails(_: Workshop, __: Callable[[str], None]) -> None:
        assert started.wait(timeout=10)
        raise Misconfigured("there is no compiler")

    with pytest.raises(Misconfigured, match="there is no compiler"):
        prepare([step("slow", slow), step("fails", fails)])


def test_the_last_words_of_a_failed_command_are_kept() -> None:
    heard: list[str | None] = []

    def carry_out(workshop: Workshop, tell: Callable[[str], None]) -> None:
        code = "import sys; print('working'); print('no network'); sys.exit(1)"
        heard.append(workshop.run([sys.executable, "-c", code], environment=os.environ, tell=tell))

    prepare([step("tool", carry_out)])

    assert heard == ["working; no network"]


def test_a_failed_download_of_kafka_says_what_failed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "jgo.py").write_text("raise ImportError\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    heard: list[str | None] = []

    def carry_out(workshop: Workshop, tell: Callable[[str], None]) -> None:
        heard.append(workshop.run(fetch_command(tmp_path / "kafka"), environment=environment, tell=tell))

    prepare([step("tool", carry_out)])

    reason = "Kafka's jars need the package jgo; run: pip install 'dataharvest[stack]'"
    assert heard == [f"resolving Kafka {KAFKA_VERSION}; {reason}"]


def ends(pid: int, *, within_s: float = 5.0) -> bool:
    """Whether the process is gone; a killed one gives up its locks a moment before it leaves the table of processes."""
    end = time.monotonic() + within_s
    while birth_of(pid) is not None and time.monotonic() < end:
        threading.Event().wait(0.01)
    return birth_of(pid) is None


def test_a_killed_preparation_is_resumed_once_its_children_have_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PREPARE_SLOWLY], stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        child = int(first.stderr.readline().split()[-1])
        first.send_signal(signal.SIGKILL)
    assert not (cache_directory() / "tool").exists()

    threading.Timer(0.2, os.kill, (child, signal.SIGKILL)).start()
    found: list[bool] = []

    def carry_out(_: Workshop, __: Callable[[str], None]) -> None:
        with built_whole(cache_directory() / "tool") as partial:
            found.extend([(partial / "half").exists(), ends(child)])

    prepare([step("tool", carry_out)])

    assert found == [True, True]
