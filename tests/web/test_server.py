"""The page as a process: it survives a database that goes and senders that leave, and ends in order."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from dataharvest.stack import Stack
from tests.programs import PROGRAM
from tests.web.conftest import Visit, serving

WAIT_S = 20


@pytest.fixture
def log(stack_environment: dict[str, str]) -> Path:
    return Path(stack_environment["DATAHARVEST_HOME"], "logs", "web.log")


def test_a_sender_that_leaves_in_the_middle_stores_nothing_and_is_no_fault(page_address: str, log: Path) -> None:
    before = log.read_text("utf-8")
    place = urlsplit(page_address)
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        head = (
            f"PUT /api/uploads/leaver/accounts_20261123.csv HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 9000000\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(8_500_000))
    httpx.get(f"{page_address}/api/health", timeout=30)

    assert httpx.get(f"{page_address}/api/sets/leaver/2026-11-23", timeout=30).status_code == 404
    assert "Traceback" not in log.read_text("utf-8")[len(before) :]


@pytest.fixture
def stopped_database(stack_environment: dict[str, str]) -> Iterator[Stack]:
    stack = Stack(Path(stack_environment["DATAHARVEST_HOME"]))
    yield stack
    stack.up()


def test_a_page_says_that_the_database_is_gone_and_goes_on_by_itself(
    visitor: Visit, page_address: str, stopped_database: Stack
) -> None:
    page = visitor("/leftovers")
    page.evaluate("() => { window.untouched = true; }")

    stopped_database.service("postgres").stop()
    expect(page.locator("#connection")).to_contain_text("database not reachable", timeout=WAIT_S * 1000)
    assert httpx.get(f"{page_address}/api/board", timeout=WAIT_S).status_code == 503
    stopped_database.service("postgres").start()

    expect(page.locator("#connection")).to_have_text("live", timeout=WAIT_S * 1000)
    assert page.evaluate("() => window.untouched") is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_although_pages_are_open(stack_environment: dict[str, str], number: signal.Signals) -> None:
    command, environment = [PROGRAM, "web", "--port", "0"], _environment(stack_environment)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    with httpx.stream("GET", f"{address}api/events", timeout=WAIT_S) as events:
        next(events.iter_lines())
        begun = time.monotonic()
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
    process.stdout.close()
    assert time.monotonic() - begun < 8


def _environment(stack_environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **stack_environment}


def test_it_answers_to_a_name_that_it_was_given_and_to_no_other(stack_environment: dict[str, str]) -> None:
    with serving(stack_environment, "--name", "harvest.example.org") as address:
        good = httpx.get(address, headers={"Host": "harvest.example.org"}, timeout=30)
        bad = httpx.get(address, headers={"Host": "other.example.org"}, timeout=30)

    assert (good.status_code, bad.status_code) == (200, 400)


def test_status_watch_prints_again_only_what_changed_and_ends_with_ctrl_c(stack_environment: dict[str, str]) -> None:
    command = [PROGRAM, "status", "--watch", "--interval", "0.1", "--tenant", "nobody"]
    environment = _environment(stack_environment)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "nothing has arrived"
    time.sleep(1)

    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=WAIT_S)

    assert (process.returncode, rest.strip(), errors) == (0, "", "")
