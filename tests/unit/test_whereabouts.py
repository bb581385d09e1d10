"""Where a process stands: the innermost lines of its tasks."""

import asyncio
from collections.abc import AsyncIterator

from dataharvest.whereabouts import line_of_main_thread, lines_of_tasks


async def _waits(event: asyncio.Event) -> None:
    await event.wait()


async def _outer(event: asyncio.Event) -> None:
    await _waits(event)


async def test_a_task_is_named_by_the_line_it_waits_at_in_the_end_and_equal_ones_are_counted() -> None:
    event = asyncio.Event()
    tasks = [asyncio.create_task(_outer(event)) for _ in range(3)]
    await asyncio.sleep(0)

    lines = await asyncio.to_thread(lines_of_tasks, asyncio.get_running_loop())
    event.set()
    await asyncio.gather(*tasks)

    assert f"{__file__}:" in lines[0]
    assert lines[0].endswith(f":{_waits.__code__.co_firstlineno + 1} (3 tasks)")


async def _steps(event: asyncio.Event) -> AsyncIterator[int]:
    await _waits(event)
    yield 1


async def _reader(event: asyncio.Event) -> None:
    async for _ in _steps(event):
        pass


async def test_what_an_asynchronous_generator_waits_at_is_found_too() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(_reader(event))
    await asyncio.sleep(0)

    lines = lines_of_tasks(asyncio.get_running_loop())
    event.set()
    await task

    assert f"{__file__}:{_waits.__code__.co_firstlineno + 1}" in lines


async def test_a_task_that_has_not_begun_and_a_finished_one_do_no_harm() -> None:
    fresh = asyncio.create_task(_outer(asyncio.Event()))
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    lines = lines_of_tasks(asyncio.get_running_loop())
    fresh.cancel()

    assert any(f"{__file__}:" in line for line in lines)


def test_the_main_thread_is_at_a_line() -> None:
    assert line_of_main_thread().rpartition(":")[2].isdigit()
