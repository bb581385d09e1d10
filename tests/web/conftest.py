"""A real Chromium and the real page.

``page_address``
    Where `dataharvest web` listens: a process of its own on the shared stack.
``browser``
    Headless Chromium of the system; installed where the tests may do that. Without one, tests that need it are skipped and the
    run ends with ``browser tests NOT RUN``; where CI is set they fail.
``visitor``
    Opens pages in a context of its own and ends the test when a page reports an error: ``visitor("/", phone=True)``.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

from tests.conftest import NO_BROWSER
from tests.programs import PROGRAM

_NAMES = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)


class Visit(Protocol):
    """Opens a page."""

    def __call__(self, path: str, *, phone: bool = False, dark: bool = False) -> Page:
        """The page, loaded and connected to the events."""


@contextmanager
def serving(environment: dict[str, str], *options: str) -> Iterator[str]:
    """`dataharvest web` as a process for the length of a block; gives its address."""
    log = Path(environment["DATAHARVEST_HOME"], "logs", "web.log")
    with log.open("ab") as errors:
        command = [PROGRAM, "web", "--port", "0", *options]
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "http://" in said, log.read_text("utf-8")[-2000:]
        yield said.split()[-1].rstrip("/")
    finally:
        process.terminate()
        assert process.wait(20) == 0, "the page did not end in order"
        if process.stdout:
            process.stdout.close()


@pytest.fixture(scope="session")
def page_address(stack_environment: dict[str, str]) -> Iterator[str]:
    with serving(stack_environment) as address:
        yield address


def _chromium() -> str | None:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # Tests run side by side, and apt-get refuses to do so.
        with Path(tempfile.gettempdir(), "dataharvest-chromium.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = shutil.which("chromium") or _install_chromium()
    return found


def _install_chromium() -> str | None:
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "-qq", *words], check=False, capture_output=True, timeout=140)
    return shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = _chromium()
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail(f"{NO_BROWSER}: there is no Chromium, and it can't be installed")
        pytest.skip(f"{NO_BROWSER}: there is no Chromium")
    # As root, as CI is, Chromium starts only without its sandbox; it visits nothing but our own page.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=options)
        yield started
        started.close()


@pytest.fixture
def visitor(browser: Browser, page_address: str) -> Iterator[Visit]:
    contexts, errors = [], []

    def visit(path: str, *, phone: bool = False, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport=PHONE if phone else DESK,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            base_url=page_address,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if _is_error(said) else None)
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
        page.goto(path)
        page.locator("#connection[data-state=live]").wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


def _is_error(said: ConsoleMessage) -> bool:
    # A refused upload and a database that is gone are answers, not faults of the page.
    return said.type == "error" and not any(f"status of {code}" in said.text for code in (422, 503))
