"""A process is started again after an error, and only then; it is told to stop before it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUPERVISOR = "import sys; from dataharvest.cli.supervise import keep_running; sys.exit(keep_running(sys.argv[1:]))"
COUNTING = """
import pathlib, sys, time
runs = pathlib.Path(sys.argv[2])
with runs.open("a") as file:
    print("run", file=file)
codes = sys.argv[3].split(",")
code = codes[min(len(runs.read_text().split()), len(codes)) - 1]
if code == "wait":
    time.sleep(60)
sys.exit(int(code))
"""


def supervised(runs: Path, codes: str) -> list[str]:
    """A command whose n-th run ends with the n-th code; "wait" runs on."""
    return [sys.executable, "-c", SUPERVISOR, sys.executable, "-c", COUNTING, "", str(runs), codes]


def run_count(runs: Path) -> int:
    return len(runs.read_text().split()) if runs.exists() else 0


def wait_for_run(runs: Path, number: int) -> None:
    deadline = time.monotonic() + 20
    while run_count(runs) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("code", [0, 2, 78])
def test_what_starting_again_would_not_change_is_not_started_again(tmp_path: Path, code: int) -> None:
    ended = subprocess.run(supervised(tmp_path / "runs", str(code)), timeout=30, check=False)
    assert (ended.returncode, run_count(tmp_path / "runs")) == (code, 1)


def test_an_error_starts_the_command_again_and_says_so(tmp_path: Path) -> None:
    ended = subprocess.run(supervised(tmp_path / "runs", "70,0"), timeout=30, check=False, capture_output=True, text=True)
    assert (ended.returncode, run_count(tmp_path / "runs")) == (0, 2)
    assert "ended with 70, starting it again in 1 s" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_child_and_then_the_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(supervised(tmp_path / "runs", "wait"))
    wait_for_run(tmp_path / "runs", 1)
    os.kill(process.pid, number)
    assert process.wait(20) not in (0, 1)
    assert run_count(tmp_path / "runs") == 1


def test_a_signal_while_it_waits_to_start_again_ends_it(tmp_path: Path) -> None:
    process = subprocess.Popen(supervised(tmp_path / "runs", "70"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "starting it again" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=20)
    assert (process.returncode, run_count(tmp_path / "runs")) == (70, 1)
