"""The pictures in docs/, of real data; made anew by `make pictures`, as each run would change them."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest

from dataharvest.board import Board
from dataharvest.rules.standing import SETTLED, State
from tests.conftest import Command, RunWorkers
from tests.web.conftest import Visit
from tests.web.test_browser import EXAMPLES

DOCS = Path(__file__).parent.parent.parent / "docs" / "pictures"
TENANTS = ("acme", "alpina", "hansa-invest", "meridian", "nordbank", "rheingold", "sudbank", "westfalen")
NEWEST, DATES = date(2026, 11, 23), 7
CONTRACT = "cutoff: {time: '07:00', zone: Europe/Berlin, days_after: 1}\n"

pytestmark = pytest.mark.skipif("PICTURES" not in os.environ, reason="`make pictures` makes them")


def business_dates() -> list[date]:
    days = (NEWEST - timedelta(days=back) for back in range(20))
    return [day for day in days if day.weekday() < 5][:DATES]


def contents(tenant: str, day: date) -> Iterator[tuple[str, bytes]]:
    """The example's files, of which a few are as senders send them."""
    for path in sorted(EXAMPLES.iterdir()):
        name, text = path.name.replace("20261123", f"{day:%Y%m%d}"), path.read_text("utf-8")
        if (tenant, day, path.name[:4]) == ("nordbank", NEWEST, "acco"):
            text = text.replace("2750.5", "2.750,50")
        if (tenant, day, path.name[:4]) == ("sudbank", NEWEST, "tran"):
            continue
        if (tenant, day, path.name[:4]) == ("rheingold", NEWEST - timedelta(days=3), "clie"):
            text = text.replace("tax_free_allowance", "allowance")
        yield name, text.encode()


@pytest.fixture
def harvest(page_address: str, running_workers: RunWorkers, dataharvest: Command, tmp_path: Path) -> Iterator[None]:
    contract = tmp_path / "contract.yaml"
    contract.write_text(CONTRACT, "utf-8")
    for tenant in ("nordbank", "sudbank", "acme"):
        assert dataharvest("contract", "apply", str(contract), "--tenant", tenant, "--yes").returncode == 0
    with running_workers(1), httpx.Client(base_url=f"{page_address}/api", timeout=60) as client:
        keys = [(tenant, day) for day in reversed(business_dates()) for tenant in TENANTS]
        keys.remove(("hansa-invest", NEWEST))
        for tenant, day in keys:
            _upload(client, tenant, day)
        _wait_for(client, {state: 0 for state in State if state not in SETTLED}, count=len(keys))
        dataharvest("tenant", "pause", "hansa-invest", "--reason", "they send it again at ten")
        _upload(client, "hansa-invest", NEWEST)
        _wait_for(client, {State.LOADING: 1}, count=len(keys) + 1)
        yield
    dataharvest("tenant", "resume", "hansa-invest")


def _upload(client: httpx.Client, tenant: str, day: date) -> None:
    for name, content in contents(tenant, day):
        assert client.put(f"/uploads/{tenant}/{name}", content=content).status_code == 200


def _wait_for(client: httpx.Client, wanted: dict[State, int], *, count: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        totals = Board.model_validate(client.get("/board").json()).totals
        if sum(totals.values()) == count and {state: totals[state] for state in wanted} == wanted:
            return
        time.sleep(0.5)
    raise AssertionError(totals)


@pytest.mark.usefixtures("harvest")
@pytest.mark.timeout(700)
def test_pictures(visitor: Visit) -> None:
    shutil.rmtree(DOCS, ignore_errors=True)
    DOCS.mkdir(parents=True)
    board = visitor("/")
    board.wait_for_timeout(1000)
    board.screenshot(path=DOCS / "board.png", full_page=True)
    one = visitor(f"/sets/nordbank/{NEWEST}")
    one.wait_for_timeout(1000)
    one.screenshot(path=DOCS / "set-blocked.png")
    visitor(f"/sets/acme/{NEWEST}").screenshot(path=DOCS / "set-published.png")
    phone = visitor("/", phone=True)
    phone.wait_for_timeout(1000)
    phone.get_by_role("heading", name="Tenants by business date").scroll_into_view_if_needed()
    phone.evaluate("() => scrollBy(0, 500)")
    phone.screenshot(path=DOCS / "board-phone.png")
    visitor(f"/sets/nordbank/{NEWEST}", phone=True).screenshot(path=DOCS / "set-phone.png")
