"""A TCP proxy that does what networks do: resets, refuses, stalls, delays, throttles, half-closes, and loses answers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_PIECE_BYTES = 1 << 16
_REQUEST = re.compile(rb"(GET|HEAD|PUT|DELETE) (\S+) HTTP/1\.1\r\n")
_COMMIT = b"COMMIT;"


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left_bytes: int | None = None
    """How much of the answers passes before it is reset."""
    is_answer_lost: bool = False

    def reset(self) -> None:
        """End both connections at once."""
        for end in (self.client, self.server):
            end.transport.abort()


@dataclass
class Proxy:
    """Forwards what comes in on ``port`` to ``target_port``; the fields say what goes wrong, and ``heal`` ends it."""

    port: int
    target_port: int
    is_refusing: bool = False
    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    commits_until_loss: int | None = None
    """How many more COMMITs pass before the answer to one gets lost."""
    breaks_after: int | None = None
    """After how many bytes of answers each new connection is reset."""
    answers: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """By a part of a request's path: the HTTP answer that it gets instead, and how often."""
    lost_answers: int = 0
    """COMMITs that were passed on and whose answers were not."""
    passed: int = 0
    """Pieces of data that came, whatever became of them."""
    touched: int = 0
    """Pieces of data that were held up, slowed down or cut off."""
    resets: int = 0
    """Connections that were reset, refused or half-closed, and answers that were replaced or lost."""
    _links: set[Link] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin healthy."""
        self._flows.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Forward until the block ends."""
        server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            self.reset()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def reset(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            self._cut(link)

    def reset_after(self, byte_count: int) -> None:
        """Reset every connection once so many bytes more were answered."""
        for link in self._links:
            link.left_bytes = byte_count

    def refuse(self) -> None:
        """Reset every connection and accept none."""
        self.is_refusing = True
        self.reset()

    def stall(self) -> None:
        """Pass nothing on, and break nothing."""
        self._flows.clear()

    def half_close(self) -> None:
        """Tell every client that the server has ended its side."""
        for link in self._links:
            self.touched += 1
            self.resets += 1
            if link.client.can_write_eof() and not link.client.is_closing():
                link.client.write_eof()

    def heal(self) -> None:
        """Forward as if nothing had happened; what was broken stays broken."""
        self.is_refusing, self.latency_s, self.bytes_per_s, self.commits_until_loss = False, 0.0, 0.0, None
        self.breaks_after = None
        self.answers.clear()
        for link in self._links:
            link.left_bytes = None
        self._flows.set()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._accept(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            self.touched += 1
            self.resets += 1
            writer.transport.abort()
            return
        try:
            answers, onward = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, onward, left_bytes=self.breaks_after)
        self._links.add(link)
        ways = [
            asyncio.create_task(self._pass(link, reader, onward, self._ask)),
            asyncio.create_task(self._pass(link, answers, writer, self._answer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._links.discard(link)
        for end in (writer, onward):
            end.close()

    async def _pass(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: Callable[[Link, bytes], bytes]
    ) -> None:
        try:
            while data := await source.read(_PIECE_BYTES):
                await self._delay(len(data))
                if passed := look(link, data):
                    sink.write(passed)
                    await sink.drain()
        except (ConnectionError, RuntimeError):
            return

    async def _delay(self, byte_count: int) -> None:
        self.passed += 1
        self.touched += bool(self.latency_s or self.bytes_per_s or not self._flows.is_set())
        await self._flows.wait()
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.bytes_per_s:
            await asyncio.sleep(byte_count / self.bytes_per_s)

    def _ask(self, link: Link, data: bytes) -> bytes:
        """What of a request reaches the server."""
        if self.commits_until_loss is not None and _COMMIT in data:
            self.commits_until_loss -= 1
            if self.commits_until_loss < 0:
                self.commits_until_loss, link.is_answer_lost = None, True
        request = _REQUEST.match(data)
        return data if request is None else self._instead(link, request[2].decode(), data)

    def _instead(self, link: Link, path: str, data: bytes) -> bytes:
        for part, (answer, count) in list(self.answers.items()):
            if part in path and count > 0:
                self.answers[part] = (answer, count - 1)
                self.resets += 1
                link.client.write(answer)
                return b""
        return data

    def _answer(self, link: Link, data: bytes) -> bytes:
        """What of an answer reaches the client."""
        if link.is_answer_lost:
            self.lost_answers += 1
            self._cut(link)
            return b""
        if link.left_bytes is None:
            return data
        passed, link.left_bytes = data[: link.left_bytes], link.left_bytes - len(data)
        if link.left_bytes < 0:
            link.client.write(passed)
            self._cut(link)
            return b""
        return passed

    def _cut(self, link: Link) -> None:
        self.touched += 1
        self.resets += 1
        link.reset()
