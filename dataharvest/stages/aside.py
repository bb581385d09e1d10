"""Aside: what takes long without waiting for anything, so done that the event loop serves others meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dataharvest.rules.steps import Course, Steps

_MANY_BYTES = 64 << 10
"""So many take longer than to hand them to a thread."""

Terms = ParamSpec("Terms")
Result = TypeVar("Result")


async def aside(byte_length: int, function: Callable[Terms, Result], *terms: Terms.args, **named: Terms.kwargs) -> Result:
    """What ``function`` returns; in a thread if it has many bytes to go through.

    Only for functions that leave the interpreter free for nearly all of their time, as `hashlib` and `zstandard` do: from a
    thread any other would keep the loop waiting too.
    """
    if byte_length < _MANY_BYTES:
        return function(*terms, **named)
    return await asyncio.to_thread(function, *terms, **named)


async def with_breaks(steps: Steps[Result]) -> Result:
    """What the steps come to; whoever waits for the loop has it between any two."""
    course = Course(steps)
    for _ in course:
        await asyncio.sleep(0)
    return course.result
