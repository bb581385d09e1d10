"""Where a process stands that does not get on: the line its event loop is at, and those its tasks wait at."""

import asyncio
import gc
import sys
import threading
from collections import Counter
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType

_MOST_NAMED = 20
_DEEPEST = 100
_OF_PYTHON = str(Path(asyncio.__file__).parent)


def line_of_main_thread() -> str:
    """File and line that the main thread, and so the event loop, is at."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return _place(frame) if frame else "unknown"


def lines_of_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Files and lines that unfinished tasks of the loop wait at, the most frequent first, twenty at most; from any thread."""
    places = Counter(_place(frame) for task in asyncio.all_tasks(loop) if (frame := _innermost(task.get_coro())))
    return [f"{place} ({count} tasks)" if count > 1 else place for place, count in places.most_common(_MOST_NAMED)]


def _innermost(awaited: object) -> FrameType | None:
    """The frame of what is awaited in the end, but of ours or a library rather than one of Python itself.

    What a task shows of itself is only the outermost.
    """
    found = None
    for _ in range(_DEEPEST):
        frame, awaited = _step(awaited)
        if frame is not None and (found is None or not frame.f_code.co_filename.startswith(_OF_PYTHON)):
            found = frame
        if awaited is None:
            break
    return found


def _step(awaited: object) -> tuple[FrameType | None, object]:
    """The frame of what is awaited, and what that awaits in turn."""
    if isinstance(awaited, CoroutineType):
        return awaited.cr_frame, awaited.cr_await
    if isinstance(awaited, AsyncGeneratorType):
        return awaited.ag_frame, awaited.ag_await
    # The step of an asynchronous generator, and the like, say nothing of it; but they refer to it.
    inner = (one for one in gc.get_referents(awaited) if isinstance(one, CoroutineType | AsyncGeneratorType))
    return None, next(inner, None)


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('site-packages/')[2]}:{frame.f_lineno}"
