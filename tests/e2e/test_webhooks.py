"""Tenants are told over HTTP, on the real services: signed, again when it failed, and nobody waits for a dead server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from dataharvest.rules.signing import HEADER, is_genuine
from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.kills.world import eventually

KEY = "a key that only this test knows, and long enough"


class Receiver:
    """A tenant's server: refuses the first call of every path that begins with ``/refuse``; ``/hang`` never answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bytes]] = []
        self.released = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        is_first = request.path not in [path for path, _, _ in self.calls]
        self.calls.append((request.path, request.headers[HEADER], body))
        if request.path == "/hang":
            await self.released.wait()
        return web.Response(status=503 if request.path.startswith("/refuse") and is_first else 204)

    def told(self, path: str) -> list[str]:
        return [json.loads(body)["type"] for called, _, body in self.calls if called == path]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.released.set()
            await runner.cleanup()


async def test_tenants_are_told_whatever_other_tenants_servers_do(
    running_workers: RunWorkers, dataharvest: Command, stack_environment: dict[str, str], tmp_path: Path
) -> None:
    outside, receiver = Outside(stack_environment), Receiver()

    async def command(*arguments: str, **variables: str) -> str:
        done = await asyncio.to_thread(dataharvest, *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def apply(tenant: str, url: str) -> None:
        path = tmp_path / f"{tenant}.yaml"
        path.write_text(f"webhook: {{url: '{url}'}}\n")
        await command("contract", "apply", str(path), "--tenant", tenant, "--yes")

    async with receiver.running() as address:
        await apply("told", f"{address}/told")
        await apply("told-again", f"{address}/refuse")
        await apply("hanging", f"{address}/hang")
        await apply("dead", "http://127.0.0.1:9/closed")
        with running_workers(1, DATAHARVEST_WEBHOOK_KEY=KEY):
            for tenant in ("hanging", "dead", "told", "told-again"):
                await outside.put_set(make_set(tenant))
            bad = b"record_id,account_number,cash_balance,currency,taxes_paid\n1,A,x,EUR,0\n"
            await outside.put("told/accounts_20261124.csv", bad)
            await outside.published(["told", "told-again", "hanging", "dead"])

            async def all_told() -> bool:
                return sorted(receiver.told("/told")) == ["set_blocked", "set_ready"] and len(receiver.told("/refuse")) == 2

            await eventually(all_told, what="the notifications", within_s=30)
            secret = (await command("webhook", "secret", "told", DATAHARVEST_WEBHOOK_KEY=KEY)).strip()
            listed = await command("webhook", "list")

    signed = [(int(header[2:].partition(",")[0]), header, body) for path, header, body in receiver.calls if path == "/told"]
    assert all(is_genuine(header, body, secret=secret, now_s=at) for at, header, body in signed)
    assert len({body for path, _, body in receiver.calls if path == "/refuse"}) == 1
    assert len({header for path, header, _ in receiver.calls if path == "/refuse"}) == 2
    assert "dead 2026-11-23 set_ready" in listed
    assert "not reached: ClientConnectorError" in listed
    assert "told-again" not in listed


async def test_what_a_user_types_wrongly_is_one_sentence(dataharvest: Command) -> None:
    for arguments, variables, text, code in (
        (("secret", "told"), {}, "DATAHARVEST_WEBHOOK_KEY is not set", 78),
        (("secret", "nobody"), {"DATAHARVEST_WEBHOOK_KEY": KEY}, "the contract of 'nobody' has no webhook", 2),
        (("secret", "told"), {"DATAHARVEST_WEBHOOK_KEY": "short"}, "DATAHARVEST_WEBHOOK_KEY", 78),
    ):
        done = await asyncio.to_thread(dataharvest, "webhook", *arguments, **variables)
        assert done.returncode == code, done.stderr
        assert text in done.stderr
        assert "Traceback" not in done.stderr
