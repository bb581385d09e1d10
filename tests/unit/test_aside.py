"""What takes long without waiting: others have the event loop meanwhile."""

import asyncio
import threading
from collections.abc import Generator

import pytest

from dataharvest.rules.steps import Steps, at_once
from dataharvest.stages.aside import aside, with_breaks


def three_steps(seen: list[str]) -> Steps[int]:
    for number in range(3):
        seen.append(f"step {number}")
        yield
    return 7


def failing() -> Generator[None, None, int]:
    yield
    raise ValueError("no")


@pytest.mark.parametrize(("byte_length", "is_here"), [(100, True), (1 << 20, False)])
async def test_many_bytes_are_gone_through_in_another_thread(byte_length: int, is_here: bool) -> None:
    thread = await aside(byte_length, threading.get_ident)
    assert (thread == threading.get_ident()) is is_here


@pytest.mark.parametrize("byte_length", [100, 1 << 20])
async def test_what_goes_wrong_aside_is_told(byte_length: int) -> None:
    with pytest.raises(ZeroDivisionError):
        await aside(byte_length, divmod, 1, 0)


async def test_others_have_the_loop_between_steps() -> None:
    seen: list[str] = []

    async def other() -> None:
        for _ in range(3):
            seen.append("other")
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert await with_breaks(three_steps(seen)) == 7
    await beside
    assert seen == ["step 0", "other", "step 1", "other", "step 2", "other"]


async def test_a_step_that_fails_is_told() -> None:
    with pytest.raises(ValueError, match="no"):
        await with_breaks(failing())


def test_the_same_without_a_stop() -> None:
    assert at_once(three_steps)([]) == 7
    with pytest.raises(ValueError, match="no"):
        at_once(failing)()
