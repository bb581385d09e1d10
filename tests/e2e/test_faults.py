"""The short cut of ``python -m tests.faults``: every kind of fault once, and planted bugs that have to be found."""

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Site]:
    async with site() as one:
        yield one


@pytest.mark.parametrize("bug", ["insert twice", "swallow a row error", "republish unchanged"])
async def test_a_planted_bug_turns_the_run_red(made: Site, bug: str) -> None:
    found = await run_with(bug, made, seed=SEED)

    assert found.violations, f"{bug} was not found"


async def test_every_kind_of_fault_once_loses_doubles_and_delays_nothing(made: Site, tmp_path: Path) -> None:
    plan = Plan([ALL[name] for name in ALL if name not in LEFT_OUT], SCALES["short"], SEED)

    outcome = await play_together(plan, made, report=tmp_path)

    print((tmp_path / "faults-report.md").read_text("utf-8"))
    assert outcome.violations.all() == []
    assert outcome.exit_code == 0, outcome.summary


LEFT_OUT = {"F12", "F13"}
"""The corpus has a test of its own; a full disk needs mounts of our own."""
