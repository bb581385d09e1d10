"""Where a process stands that does not get on: the line its event loop is at, and those its tasks wait at."""

import asyncio
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CoroutineType, FrameType

_MOST_NAMED = 20
_OF_PYTHON = str(Path(asyncio.__file__).parent)


def line_of_main_thread() -> str:
    """File and line that the main thread, and so the event loop, is at."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return _place(frame) if frame else "unknown"


def lines_of_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Files and lines that unfinished tasks of the loop wait at, the most frequent first, twenty at most; from any thread."""
    places = Counter(_place(frame) for task in asyncio.all_tasks(loop) if (frame := _innermost(task.get_coro())))
    return [f"{place} ({count} tasks)" if count > 1 else place for place, count in places.most_common(_MOST_NAMED)]


def _innermost(coroutine: object) -> FrameType | None:
    """The frame of the coroutine that is awaited in the end, but of ours or a library rather than one of Python itself.

    What a task shows of itself is only the outermost.
    """
    frame = None
    while isinstance(coroutine, CoroutineType):
        inner = coroutine.cr_frame
        if inner is not None and (frame is None or not inner.f_code.co_filename.startswith(_OF_PYTHON)):
            frame = inner
        coroutine = coroutine.cr_await
    return frame


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('site-packages/')[2]}:{frame.f_lineno}"
