"""Calling webhooks: signed, tried again, given up after a day; whatever one tenant's server does, the others are told."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from dataharvest.adapters.http_caller import HttpCaller
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_notifications import MemoryCaller, MemoryWebhookCalls
from dataharvest.cli.webhook import call_line
from dataharvest.contracts import Contract, Webhook
from dataharvest.messages import Notification
from dataharvest.rules.notifying import GIVE_UP_AFTER_S
from dataharvest.rules.signing import HEADER, is_genuine, tenant_secret
from dataharvest.stages.call_webhooks import WebhookLoop
from dataharvest.stages.notify import notify

KEY = "k" * 32
URL = "https://example.com/told"
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """The loop on fakes."""

    def __init__(self, *, key: str | None = KEY, answer: Callable[[str], str | None] = lambda url: None) -> None:
        self.clock = Clock()
        self.calls = MemoryWebhookCalls(self.clock)
        self.contracts = MemoryContracts()
        self.caller = MemoryCaller(answer)
        self.loop = WebhookLoop(self.calls, self.contracts, self.caller, key, clock=self.clock)

    async def tell(self, tenant: str, *, url: str = URL, kind: str = "set_ready") -> UUID:
        await self.contracts.apply(tenant, Contract(webhook=Webhook(url=url)))
        one = notification(tenant, kind)
        await notify(one.encode(), contracts=self.contracts, calls=self.calls)
        return one.notification_id

    def state(self, identity: UUID) -> tuple[str, int, str | None]:
        row = self.calls.rows[identity]
        return row.state, row.attempt, row.failure


def notification(tenant: str, kind: str = "set_ready") -> Notification:
    return Notification.model_validate(
        {
            "type": kind,
            "tenant": tenant,
            "business_date": date(2026, 11, 23),
            "notification_id": uuid4(),
            "version": 1,
            "reason": "all files are stored",
            "at": datetime(2026, 11, 23, tzinfo=UTC),
        }
    )


async def test_a_call_is_signed_with_the_tenant_s_secret() -> None:
    site = Site()
    identity = await site.tell("acme")

    await site.loop.step()

    [(url, body, headers)] = site.caller.received
    assert (url, headers["Content-Type"]) == (URL, "application/json")
    assert f'"notification_id":"{identity}"'.encode() in body
    assert is_genuine(headers[HEADER], body, secret=tenant_secret(KEY, "acme", number=1), now_s=site.clock.now)
    assert site.state(identity) == ("accepted", 1, None)


async def test_only_what_the_contract_asks_for_is_told() -> None:
    site = Site()
    await site.contracts.apply("acme", Contract(webhook=Webhook(url=URL, events=("late",))))
    for tenant, kind in (("acme", "set_ready"), ("acme", "set_late"), ("nobody", "set_late")):
        await notify(notification(tenant, kind).encode(), contracts=site.contracts, calls=site.calls)

    assert [row.tenant for row in site.calls.rows.values()] == ["acme"]


async def test_a_notification_that_comes_twice_is_told_once() -> None:
    site = Site()
    await site.contracts.apply("acme", Contract(webhook=Webhook(url=URL)))
    value = notification("acme").encode()
    for _ in range(2):
        await notify(value, contracts=site.contracts, calls=site.calls)
        await site.loop.step()

    assert len(site.caller.received) == 1


async def test_a_failed_call_is_made_again_with_a_fresh_signature_and_given_up_after_a_day(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(answer=lambda url: "answered 500")
    identity = await site.tell("acme")
    while site.state(identity)[0] == "waiting":
        await site.loop.step()
        site.clock.now = max(site.clock.now, site.calls.rows[identity].next_try_at)

    state, attempts, reason = site.state(identity)
    assert (state, reason) == ("given_up", "answered 500")
    assert attempts == len(site.caller.received) == len({headers[HEADER] for _, _, headers in site.caller.received})
    assert 20 < attempts < 50
    assert site.clock.now - site.calls.rows[identity].queued_at >= GIVE_UP_AFTER_S
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["webhook given up"]


async def test_a_corrected_address_holds_for_calls_that_wait() -> None:
    site = Site(answer=lambda url: "answered 404" if "wrong" in url else None)
    identity = await site.tell("acme", url="https://example.com/wrong")
    await site.loop.step()
    await site.contracts.apply("acme", Contract(webhook=Webhook(url=URL)))
    site.clock.now += 5

    await site.loop.step()

    assert site.state(identity)[:2] == ("accepted", 2)


async def test_without_a_key_nothing_is_called_and_the_call_waits() -> None:
    site = Site(key=None)
    identity = await site.tell("acme")

    await site.loop.step()

    assert site.caller.received == []
    assert site.state(identity) == ("waiting", 1, "no key to sign with")


async def test_a_tenant_that_wants_to_hear_nothing_any_more_is_not_called() -> None:
    site = Site()
    identity = await site.tell("acme")
    await site.contracts.apply("acme", Contract())

    await site.loop.step()

    assert (site.caller.received, site.state(identity)[0]) == ([], "given_up")


async def test_a_call_that_hangs_holds_nobody_else_up() -> None:
    site, released = Site(), asyncio.Event()

    class Hanging(MemoryCaller):
        async def post(self, url: str, body: bytes, *, headers: object) -> str | None:
            if "slow" in url:
                await released.wait()
            self.received.append((url, body, {}))
            return None

    site.loop.caller = Hanging()
    slow = await site.tell("slow", url="https://example.com/slow")
    quick = [await site.tell(f"quick-{number}") for number in range(100)]
    while any(site.state(one)[0] == "waiting" for one in quick):
        await site.loop.step()

    assert site.state(slow)[0] == "waiting"
    released.set()
    while site.state(slow)[0] == "waiting":
        await site.loop.step()


@asynccontextmanager
async def server(answering: Answering) -> AsyncIterator[str]:
    """The address of an HTTP server on this machine."""
    application = web.Application()
    application.router.add_post("/{path:.*}", answering)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_over_http_only_a_2xx_is_acceptance_and_no_redirect_is_followed() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        status = int(request.path[1:])
        return web.Response(status=status, text="x" * 100_000, headers={"Location": "/200"} if status == 302 else {})

    caller = HttpCaller()
    async with server(answer) as address:
        found = {status: await caller.post(f"{address}/{status}", b"{}", headers={}) for status in (200, 204, 302, 404, 500)}
    refused = await caller.post(address, b"{}", headers={})
    await caller.close()

    assert found == {200: None, 204: None, 302: "answered 302", 404: "answered 404", 500: "answered 500"}
    assert seen == ["/200", "/204", "/302", "/404", "/500"]
    assert refused == "not reached: ClientConnectorError"


async def test_a_server_that_never_answers_is_left_after_a_while_and_the_loop_goes_on_meanwhile() -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    caller = HttpCaller(timeout_s=0.3)
    async with server(hang) as address:
        started = time.monotonic()
        assert await caller.post(address, b"{}", headers={}) == "no answer within 0.3 s"
        assert time.monotonic() - started < 5
        released.set()
    await caller.close()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "acme 2026-11-23 set_ready, 1 attempt, next try at 2026-11-24 06:30:00 UTC: answered 500"),
        (
            {"business_date": None, "kind": "file_rejected", "attempt_count": 2, "state": "given_up", "last_failure": None},
            "acme file_rejected, 2 attempts, given up",
        ),
    ],
)
def test_a_call_is_listed_with_its_date_where_it_is_about_one(fields: dict[str, object], line: str) -> None:
    call = {
        "tenant": "acme", "business_date": date(2026, 11, 23), "kind": "set_ready", "attempt_count": 1, "state": "waiting",
        "next_try_at": datetime(2026, 11, 24, 6, 30, tzinfo=UTC), "last_failure": "answered 500",
    }  # fmt: skip

    assert call_line({**call, **fields}) == line
