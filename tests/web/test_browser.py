"""A person at the page: drops files, watches, reads why, and finds the way without a mouse."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.conftest import RunWorkers, Worker
from tests.web.conftest import Visit
from tests.web.dropping import drop

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "acme"
DAY = "2026-11-23"
PUBLISHED_MS = 60_000


@pytest.fixture(scope="module", autouse=True)
def worker(running_workers: RunWorkers) -> Iterator[list[Worker]]:
    with running_workers(1, DATAHARVEST_CORRECTION_SETTLE_S="0.5") as workers:
        yield workers


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES, tmp_path / "files"))


def spoil(folder: Path) -> None:
    """Give the second account an amount that is none."""
    path = folder / "accounts_20261123.csv"
    path.write_text(path.read_text("utf-8").replace("2750.5", "1E+5"), "utf-8")


def board_of(visitor: Visit, tenant: str) -> Page:
    """The board with this tenant on it: filtered, as the whole board shows it on a page that depends on who else is there."""
    return visitor(f"/?tenant={tenant}")


def drop_for(page: Page, tenant: str, folder: Path) -> None:
    page.get_by_label("Tenant", exact=True).fill(tenant)
    drop(page, sorted(folder.iterdir()))


def mark(page: Page) -> None:
    """Leave a mark that a reload would remove."""
    page.evaluate("() => { window.untouched = true; }")


def assert_not_reloaded(page: Page) -> None:
    assert page.evaluate("() => window.untouched") is True


def test_four_dropped_files_are_published_on_the_board_without_a_reload(visitor: Visit, files: Path) -> None:
    page = board_of(visitor, "dropped")
    mark(page)

    drop_for(page, "dropped", files)

    expect(page.locator("[data-upload-list] li[data-state=stored]")).to_have_count(4)
    expect(page.locator(f"a[title='dropped {DAY}: published']")).to_be_visible(timeout=PUBLISHED_MS)
    assert_not_reloaded(page)


def test_a_bad_file_is_named_with_line_and_rule_and_a_corrected_one_is_published_live(visitor: Visit, files: Path) -> None:
    spoil(files)
    board = board_of(visitor, "spoilt")
    drop_for(board, "spoilt", files)
    expect(board.locator(f"a[title='spoilt {DAY}: blocked']")).to_be_visible(timeout=PUBLISHED_MS)

    page = visitor(f"/sets/spoilt/{DAY}")
    mark(page)
    verdict = page.get_by_label("Where it stands")
    expect(verdict).to_contain_text("blocked")
    expect(verdict).to_contain_text("spoilt/accounts_20261123.csv, line 3, column cash_balance breaks rule money")
    expect(page.get_by_role("region", name="Quarantine").first.or_(page.locator(".records")).first).to_contain_text("1E+5")

    drop(page, [EXAMPLES / "accounts_20261123.csv"])

    expect(verdict).to_contain_text("Version 1 is published", timeout=PUBLISHED_MS)
    expect(page.locator(".journey .t-done")).to_have_count(6)
    assert_not_reloaded(page)


def test_a_rejected_file_is_named_with_line_and_rule(visitor: Visit, files: Path) -> None:
    (files / "accounts_20261123.csv").write_text("record_id,account_number\n1,2\n", "utf-8")
    board = board_of(visitor, "headless")
    drop_for(board, "headless", files)
    expect(board.locator(f"a[title='headless {DAY}: incomplete']")).to_be_visible(timeout=PUBLISHED_MS)

    # The board lists only the most urgent sets; the set's own page always says why.
    expect(visitor(f"/sets/headless/{DAY}").get_by_label("Where it stands")).to_contain_text(
        "headless/accounts_20261123.csv, line 1, column cash_balance was rejected by rule missing_column", timeout=PUBLISHED_MS
    )


def test_a_file_whose_name_says_nothing_is_refused_at_once_and_said(visitor: Visit, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("hello", "utf-8")
    page = visitor("/")

    page.get_by_label("Tenant", exact=True).fill("acme")
    drop(page, [notes])

    failed = page.locator("[data-upload-list] li[data-state=failed]")
    expect(failed).to_contain_text("does not name a file we know")
    expect(failed.get_by_role("button", name="Try again")).to_be_visible()


def test_a_drop_without_a_tenant_asks_whose_files_they_are(visitor: Visit, files: Path) -> None:
    page = visitor("/")

    drop(page, sorted(files.iterdir()))

    expect(page.locator("[data-upload-says]")).to_contain_text("Say whose files these are")
    expect(page.locator("[data-upload-list] li")).to_have_count(0)


HOSTILE = "<img src=x onerror=alert(1)>/\u202egpj.exe"


def test_hostile_names_and_records_are_shown_as_text(visitor: Visit, page_address: str, files: Path) -> None:
    for path in files.iterdir():
        content = path.read_text("utf-8")
        if path.name.startswith("accounts"):
            header, first, *rest = content.splitlines()
            evil = '9,=HYPERLINK("evil"),<script>alert(2)</script>\u202e,EUR,0'
            content = "\n".join([f"{header},<b>extra</b>", f"{first},=1+1", f"{evil},x", *[f"{line}," for line in rest], ""])
        answer = httpx.put(f"{page_address}/api/uploads/hostile/{HOSTILE}/{path.name}", content=content.encode(), timeout=30)
        assert answer.status_code == 200, answer.text

    # Filtered: the board lists only the most urgent of all.
    page = visitor("/?tenant=hostile")
    sentence = page.locator("#attention-hostile-2026-11-23")
    expect(sentence).to_contain_text("hostile/<img src=x onerror=alert(1)>/\\u202egpj.exe/accounts", timeout=PUBLISHED_MS)
    page.goto(f"/sets/hostile/{DAY}")
    expect(page.locator(".records pre")).to_contain_text("<script>alert(2)</script>\\u202e")
    expect(page.locator("main")).to_contain_text("<b>extra</b>")
    assert page.locator("main img, main script, main pre b").count() == 0
    assert "\u202e" not in page.content()


@pytest.mark.parametrize("look", ["desk", "phone", "dark"])
def test_axe_finds_nothing_serious(visitor: Visit, look: str) -> None:
    found = {}
    for path in ("/", f"/sets/dropped/{DAY}", f"/sets/hostile/{DAY}", "/leftovers", "/?tenant=nobody-at-all"):
        page = visitor(path, phone=look == "phone", dark=look == "dark")
        page.wait_for_timeout(400)
        result = Axe().run(page)
        for one in result.response["violations"]:
            if one["impact"] in ("serious", "critical"):
                found[path, one["id"]] = [node["html"] for node in one["nodes"]][:3]
        page.close()

    assert found == {}


def test_the_grid_is_one_stop_of_the_tab_key_and_arrows_move_in_it(visitor: Visit) -> None:
    page = visitor("/")
    page.wait_for_timeout(400)
    stops = page.locator("table.grid td a[tabindex='0']")
    assert stops.count() == 1

    stops.focus()
    first = page.evaluate("() => document.activeElement.title")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("() => document.activeElement.title")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/sets/"))

    assert first != second
    tenant, day = second.split(":")[0].rsplit(" ", 1)
    assert page.url.endswith(f"/sets/{tenant}/{day}")


@pytest.mark.parametrize("path", ["/", f"/sets/hostile/{DAY}", "/leftovers"])
def test_nothing_is_wider_than_a_phone(visitor: Visit, path: str) -> None:
    page = visitor(path, phone=True)

    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_filter_narrows_the_board_and_keeps_the_address(visitor: Visit) -> None:
    page = visitor("/")
    mark(page)

    page.get_by_label("Find tenant").fill("drop")

    expect(page.locator("table.grid tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"tenant=drop"))
    assert_not_reloaded(page)


def test_the_page_loads_nothing_from_elsewhere_and_runs_without_scripts(visitor: Visit, page_address: str) -> None:
    page = visitor("/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator("#connection[data-state=live]").wait_for()

    assert [url for url in asked if not url.startswith(page_address)] == []
    assert httpx.get(f"{page_address}/", timeout=30).text.count("published") > 0
