"""The short cut of ``python -m tests.faults``: every kind of fault once, and planted bugs to be found; on three stacks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.bugs.running import run_with
from tests.faults.kinds import ALL, LANES, SCALES
from tests.faults.run import Plan, play_together
from tests.faults.site import Site, site

pytestmark = pytest.mark.timeout(900)
on_one_loop = pytest.mark.asyncio(loop_scope="module")
SEED = 7


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Site]:
    async with site(has_small_disks=True) as one:
        yield one


@on_one_loop
@pytest.mark.parametrize("kinds", [pytest.param(kinds, marks=pytest.mark.xdist_group(kinds[0])) for kinds in LANES])
async def test_every_kind_of_fault_once_loses_doubles_and_delays_nothing(
    made: Site, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    plan = Plan([ALL[name] for name in kinds], SCALES["short"], SEED)

    outcome = await play_together(plan, made, report=tmp_path)

    print((tmp_path / "faults-report.md").read_text("utf-8"))
    assert outcome.violations.all() == []
    assert outcome.exit_code == 0, outcome.summary


@on_one_loop
@pytest.mark.xdist_group("bugs")
@pytest.mark.parametrize("bug", ["insert twice", "swallow a row error", "republish unchanged"])
async def test_a_planted_bug_turns_the_run_red(made: Site, bug: str) -> None:
    found = await run_with(bug, made, seed=SEED)

    assert found.violations, f"{bug} was not found"


def test_the_lanes_have_every_kind() -> None:
    assert sorted(name for lane in LANES for name in lane) == sorted(ALL)
