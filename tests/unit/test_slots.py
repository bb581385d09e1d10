"""Slots: few at a time, tenants in turn, and none is ever lost."""

import asyncio
import random

import pytest

from dataharvest.stages.slots import Slots


class Line:
    """Chunks that wait for a slot and say when they have one."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def chunk(self, name: str) -> None:
        """A chunk of the tenant that its name begins with, until it is ended."""
        self._ends[name] = asyncio.Event()
        async with self._slots.slot(name[0]):
            self.began.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_tenants_are_served_in_turn_however_many_chunks_one_has_waiting() -> None:
    line = Line(Slots(2))
    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "a4", "b1", "c1"):
            group.create_task(line.chunk(name))
        await settle()
        assert line.began == ["a1", "a2"]
        for name in ("a1", "a2", "a3", "b1", "c1", "a4"):
            await line.end(name)
    assert line.began == ["a1", "a2", "a3", "b1", "c1", "a4"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_called_off_no_slot_is_lost_and_none_is_given_twice(seed: int) -> None:
    chosen, slots, inside = random.Random(seed), Slots(3), 0

    async def chunk(tenant: str) -> None:
        nonlocal inside
        async with slots.slot(tenant):
            inside += 1
            assert inside <= 3
            try:
                for _ in range(chosen.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    tasks = [asyncio.create_task(chunk(chosen.choice("abc"))) for _ in range(40)]
    for task in chosen.sample(tasks, 15):
        await asyncio.sleep(0)
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in outcomes)
    line = Line(slots)
    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "a4"):
            group.create_task(line.chunk(name))
        await settle()
        assert line.began == ["a1", "a2", "a3"]
        for name in ("a1", "a2", "a3", "a4"):
            await line.end(name)
