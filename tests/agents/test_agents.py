"""Every agent on fakes: a bad message is dead-lettered with its bytes, and the good ones after it have their effect."""

import json

import pytest

from dataharvest import pipeline
from tests.agents.worlds import World, example_files

GARBAGE = [b"", b"garbage", b"\x00\xff", b"{}", b'["x"]', b'{"type": "batch"}']
STAGES = {
    "uploads": "register",
    "chunks": "persist",
    "progress": "fold",
    "readiness": "fan_out",
    "work": "work",
    "notifications": "notify",
}


@pytest.mark.parametrize("topic", pipeline.CONSUMED)
async def test_poison_is_dead_lettered_with_its_bytes_and_changes_nothing(topic: str) -> None:
    world = World()
    async with world.agents() as agents:
        for value in (*GARBAGE, None):
            await agents.give(topic, value)
    kept = world.dead_letters.kept
    assert [value for value, _, _ in kept.values()] == [*GARBAGE, None]
    assert {(position.topic, stage) for position, (_, stage, _) in kept.items()} == {(topic, STAGES[topic])}
    assert (world.sender.sent, world.ledger.deliveries, world.ledger.versions) == ([], {}, {})


async def test_agents_that_were_given_poison_still_do_their_work() -> None:
    world, files = World(), example_files()
    async with world.agents() as agents:
        for topic in pipeline.CONSUMED:
            await agents.give(topic, b"garbage")
        await agents.upload(files)
        await agents.run()
    assert len(world.dead_letters.kept) == len(pipeline.CONSUMED)
    payloads = [json.loads(one.value) for one in world.outbound()]
    assert sum("client_reference" in one for one in payloads) == 3
    assert sum("portfolio_reference" in one for one in payloads) == 5
