"""Calls of webhooks over HTTP, in a thread with an event loop of its own.

Looking up a name may take half a minute, in a thread of the loop's few; in a worker's own loop, uploads would wait for it.
"""

import asyncio
from collections.abc import Mapping
from threading import Thread

import aiohttp

_WHOLE_CALL_S = 10.0
_OK = range(200, 300)


class HttpCaller:
    """The port ``Caller`` on aiohttp. Redirects are not followed: the contract names the place that is told."""

    def __init__(self, *, timeout_s: float = _WHOLE_CALL_S) -> None:
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> str | None:
        """See the port."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=_run_until_stopped, args=[self._loop], name="webhooks", daemon=True)
            self._thread.start()
        calling = asyncio.run_coroutine_threadsafe(self._post(url, body, headers), self._loop)
        return await asyncio.wrap_future(calling)

    async def close(self) -> None:
        """Give up what is under way; it is called again by whoever comes next."""
        if self._loop is None or self._thread is None:
            return
        loop, self._loop = self._loop, None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), loop))
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(self._thread.join)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    return None if answer.status in _OK else f"answered {answer.status}"
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The class says it: what a server or resolver writes is not ours to keep.
            return f"not reached: {type(error).__name__}"

    async def _end(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=True, headers={"User-Agent": "DataHarvest"})
        return self._session


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()
