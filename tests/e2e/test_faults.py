"""The short cut of ``python -m tests.faults``: every kind of fault once, and planted bugs to be found; on three stacks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.bugs.running import run_with
from tests.faults.kinds import ALL, SCALES
from tests.faults.run import Plan, play_together
from tests.faults.site import Site, site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]
SEED = 7
LANES = {
    "workers and services": ("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F13"),
    "objects, messages and tables": ("F8", "F9", "F10", "F11", "F12", "F14", "F16", "F17", "F18"),
}
"""A fault is mostly waiting: the lanes go side by side."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Site]:
    async with site() as one:
        yield one


@pytest.mark.parametrize(
    "kinds", [pytest.param(kinds, marks=pytest.mark.xdist_group(name), id=name) for name, kinds in LANES.items()]
)
async def test_every_kind_of_fault_once_loses_doubles_and_delays_nothing(
    made: Site, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    plan = Plan([ALL[name] for name in kinds], SCALES["short"], SEED)

    outcome = await play_together(plan, made, report=tmp_path)

    print((tmp_path / "faults-report.md").read_text("utf-8"))
    assert outcome.violations.all() == []
    assert outcome.exit_code == 0, outcome.summary


@pytest.mark.xdist_group("bugs")
@pytest.mark.parametrize("bug", ["insert twice", "swallow a row error", "republish unchanged"])
async def test_a_planted_bug_turns_the_run_red(made: Site, bug: str) -> None:
    found = await run_with(bug, made, seed=SEED)

    assert found.violations, f"{bug} was not found"


def test_the_lanes_have_every_kind_that_is_counted() -> None:
    counted = [name for name, kind in ALL.items() if kind.counts["short"]]

    assert sorted(name for lane in LANES.values() for name in lane) == sorted(counted)
