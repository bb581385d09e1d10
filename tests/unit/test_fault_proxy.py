"""The fault proxy itself: each trouble does what its name says, and healing ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from dataharvest.stack.ports import keep_or_choose
from tests.faults.proxy import Proxy

HEALTHY_S, LONG_S = 5.0, 0.15


@asynccontextmanager
async def through_proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that sends back what it gets."""

    ended: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        ended.append(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    async with Proxy(keep_or_choose(None), target).serving() as proxy:
        yield proxy
    server.close()
    await asyncio.sleep(0)
    for writer in ended:
        with suppress(ConnectionError):
            await writer.wait_closed()


class Client:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, proxy: Proxy) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await client.ask(b"hello") == b"hello"
        return client

    async def ask(self, data: bytes, *, within_s: float = HEALTHY_S) -> bytes:
        self._writer.write(data)
        await self._writer.drain()
        async with asyncio.timeout(within_s):
            return await self._reader.read(65536)

    def close(self) -> None:
        self._writer.transport.abort()


async def test_a_healthy_proxy_passes_everything_both_ways() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)

        assert await client.ask(b"x" * 1000) == b"x" * 1000
        client.close()


async def test_a_connection_is_reset_at_exactly_the_byte_that_was_named() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)
        proxy.reset_after(3)

        received = b""
        with pytest.raises((ConnectionError, AssertionError)):
            while received := received + await client.ask(b"abcdef"):
                assert len(received) < 4
        assert received in (b"", b"abc")
        client.close()


async def test_a_refusing_proxy_lets_nobody_in_until_it_is_healed() -> None:
    async with through_proxy() as proxy:
        proxy.refuse()
        with pytest.raises((ConnectionError, AssertionError)):
            await Client.of(proxy)

        proxy.heal()
        (await Client.of(proxy)).close()


async def test_a_stalled_proxy_keeps_the_connection_and_passes_on_what_it_held_once_healed() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)
        proxy.stall()
        with pytest.raises(TimeoutError):
            await client.ask(b"held", within_s=LONG_S)

        proxy.heal()
        assert await client.ask(b"") == b"held"
        client.close()


async def test_latency_and_throttling_delay_and_lose_nothing() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)
        started = asyncio.get_running_loop().time()
        proxy.latency_s = 0.05
        assert await client.ask(b"late") == b"late"
        proxy.latency_s, proxy.bytes_per_s = 0.0, 100.0
        assert await client.ask(b"12345") == b"12345"

        assert asyncio.get_running_loop().time() - started >= 0.2
        client.close()


async def test_the_request_reaches_the_server_and_its_answer_is_lost() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)
        proxy.commits_until_loss = 1

        assert await client.ask(b"Q COMMIT;") == b"Q COMMIT;"
        with pytest.raises((ConnectionError, AssertionError)):
            assert await client.ask(b"Q COMMIT;")
        assert proxy.lost_answers == 1
        client.close()


async def test_a_request_for_a_named_path_gets_the_planned_answer_as_often_as_planned() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)
        proxy.answers["/bucket/key"] = (b"HTTP/1.1 503 Slow Down\r\n\r\n", 1)
        request = b"GET /bucket/key HTTP/1.1\r\n\r\n"

        assert (await client.ask(request)).startswith(b"HTTP/1.1 503")
        assert await client.ask(request) == request
        client.close()


async def test_a_half_closed_connection_reads_its_end() -> None:
    async with through_proxy() as proxy:
        client = await Client.of(proxy)

        proxy.half_close()

        assert await client.ask(b"") == b""
        client.close()
