"""One look at the database tells every open page."""

import asyncio

from dataharvest.web.pulse import OUTAGE, Pulse
from tests.unit.test_web_routes import StillReader


class CountingReader(StillReader):
    """Counts the looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def pulse(self) -> str:
        self.looks += 1
        return await super().pulse()


async def first(pulse: Pulse, count: int) -> list[str]:
    found = []
    async for beat in pulse.beats():
        found.append(beat)
        if len(found) == count:
            break
    return found


async def test_who_listens_is_told_at_once_and_of_every_change() -> None:
    reader = CountingReader()
    pulse = Pulse(reader, interval_s=0.01, stopping=lambda: False)
    listening = asyncio.create_task(first(pulse, 2))
    while reader.looks < 3:
        await asyncio.sleep(0)

    reader.beat = "2"

    assert await listening == ["1", "2"]


async def test_a_hundred_pages_cost_no_more_looks_than_one() -> None:
    reader = CountingReader()
    pulse = Pulse(reader, interval_s=0.01, stopping=lambda: False)

    told = await asyncio.gather(*(first(pulse, 1) for _ in range(100)))

    assert told == [["1"]] * 100
    assert reader.looks <= 3


async def test_an_outage_is_told_and_its_end_too() -> None:
    reader = CountingReader()
    reader.outage = True
    pulse = Pulse(reader, interval_s=0.01, stopping=lambda: False)
    listening = asyncio.create_task(first(pulse, 2))
    while reader.looks < 3:
        await asyncio.sleep(0)

    reader.outage = False

    assert await listening == [OUTAGE, "1"]


async def test_it_ends_when_the_server_does() -> None:
    reader = CountingReader()
    stopped = asyncio.Event()
    pulse = Pulse(reader, interval_s=0.01, stopping=stopped.is_set)

    async def all_beats() -> list[str]:
        return [beat async for beat in pulse.beats()]

    listening = asyncio.create_task(all_beats())
    while not reader.looks:
        await asyncio.sleep(0)
    stopped.set()

    assert await asyncio.wait_for(listening, 5) in ([], ["1"])


async def test_nobody_looks_while_nobody_listens() -> None:
    reader = CountingReader()
    pulse = Pulse(reader, interval_s=0.001, stopping=lambda: False)
    await first(pulse, 1)
    while pulse.is_looking:
        await asyncio.sleep(0.001)
    looks = reader.looks

    await asyncio.sleep(0.01)

    assert reader.looks == looks
