"""Failpoints: off by default, each name placed once, and each action as its name says."""

import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from dataharvest import failpoints
from dataharvest.errors import Misconfigured
from dataharvest.failpoints import FAILPOINTS, VARIABLE, PlannedFailure, failpoint, parse_failpoints

PACKAGE = Path(failpoints.__file__).parent


def test_every_name_is_placed_exactly_once() -> None:
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path.name != "failpoints.py"]

    placed = [name for text in sources for name in re.findall(r'failpoint\("([^"]+)"\)', text)]

    assert sorted(placed) == sorted(FAILPOINTS)


def test_nothing_is_switched_on_by_default_and_looking_costs_less_than_a_microsecond() -> None:
    failpoint("persist.copied")

    assert min(timeit.repeat('failpoint("persist.copied")', globals={"failpoint": failpoint}, number=10_000)) < 0.01


def test_a_place_acts_at_the_time_that_is_named_and_no_other() -> None:
    planned = parse_failpoints("persist.copied=raise@3")
    assert planned is not None

    for _ in range(2):
        planned.reach("persist.copied")
        planned.reach("persist.received")
    with pytest.raises(PlannedFailure):
        planned.reach("persist.copied")
    planned.reach("persist.copied")


def test_nothing_is_counted_before_the_file_is_there_that_arms_the_places(tmp_path: Path) -> None:
    planned = parse_failpoints("persist.copied=raise@1", armed_by=str(tmp_path / "armed"))
    assert planned is not None

    planned.reach("persist.copied")
    (tmp_path / "armed").touch()
    with pytest.raises(PlannedFailure):
        planned.reach("persist.copied")


def test_a_place_may_act_at_every_so_manieth_time() -> None:
    planned = parse_failpoints("persist.copied=raise%2")
    assert planned is not None

    acted = []
    for number in range(1, 7):
        try:
            planned.reach("persist.copied")
        except PlannedFailure:
            acted.append(number)

    assert acted == [2, 4, 6]


@pytest.mark.parametrize("text", ["nowhere=kill@1", "persist.copied=explode@1", "persist.copied=kill", "persist.copied=kill@0"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse_failpoints(text)


def test_a_process_is_killed_at_the_place_that_its_environment_names() -> None:
    code = "from dataharvest.failpoints import failpoint; failpoint('persist.copied'); failpoint('persist.copied'); print('on')"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: "persist.copied=kill@2"},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
