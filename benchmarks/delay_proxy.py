"""A TCP proxy that adds a delay to every round trip, so that waiting, not the cores, is the limit.

``python -m benchmarks.delay_proxy --port PORT --target HOST:PORT [--delay-ms 50]`` forwards until it is ended. What the client
sends is delivered later, in order and without slowing the stream down; answers pass at once.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from dataharvest.stack.ports import keep_or_choose

_PIECE_BYTES = 1 << 18
_Late = asyncio.Queue[tuple[float, bytes]]


def main() -> None:
    """Forward until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    asyncio.run(_serve(options.port, host, int(port), options.delay_ms / 1000))


@contextmanager
def delayed(url: str, *, delay_ms: float = 50.0) -> Iterator[str]:
    """The database's URL with the delay in between."""
    parts = urlsplit(url)
    port = keep_or_choose(None)
    target = f"{parts.hostname}:{parts.port}"
    words = ["--port", str(port), "--target", target, "--delay-ms", str(delay_ms)]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.delay_proxy", *words]) as proxy:
        credentials, _, _ = parts.netloc.rpartition("@")
        try:
            yield urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}" if credentials else f"127.0.0.1:{port}"))
        finally:
            proxy.terminate()


async def _serve(listen: int, host: str, port: int, delay_s: float) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, onward = await asyncio.open_connection(host, port)
        late: _Late = asyncio.Queue(64)
        ways = [
            asyncio.create_task(one) for one in (_hold(reader, late, delay_s), _deliver(late, onward), _pass(answers, writer))
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, onward):
            end.close()

    async with await asyncio.start_server(forward, "127.0.0.1", listen) as server:
        await server.serve_forever()


async def _hold(reader: asyncio.StreamReader, late: _Late, delay_s: float) -> None:
    while data := await reader.read(_PIECE_BYTES):
        await late.put((asyncio.get_running_loop().time() + delay_s, data))
    await late.put((0.0, b""))


async def _deliver(late: _Late, onward: asyncio.StreamWriter) -> None:
    while True:
        due, data = await late.get()
        if not data:
            return
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        onward.write(data)
        await onward.drain()


async def _pass(answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await answers.read(_PIECE_BYTES):
        writer.write(data)
        await writer.drain()


if __name__ == "__main__":
    main()
