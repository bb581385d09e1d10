"""A repeat that is read after all, for its original was rejected: what was said of it before must not hide what is said now."""

import pytest

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.errors import Rejected
from dataharvest.messages import ChunkPersisted, DeliveryRemoved, DeliverySealed, decode_chunk, decode_progress
from tests.agents.losses import QUIET, expected, first, journey, of_type, remembered, swept
from tests.agents.worlds import Agents, World, example_files

FILES = example_files()
ACCOUNTS = "acme/accounts_20261123.csv"
ORIGINAL, REPEAT = 1, 2


async def revived(world: World, agents: Agents) -> list[Sent]:
    """A set whose first file was rejected while it was judged, with a repeat that ended before; what is to be read now."""
    await agents.upload({ACCOUNTS: FILES[ACCOUNTS]})
    await journey(world, agents, lost=first(of_type("work", "judge")))
    await agents.upload({"acme/again/accounts_20261123.csv": FILES[ACCOUNTS]})
    await journey(world, agents)
    assert [world.ledger.deliveries[one].state for one in (ORIGINAL, REPEAT)] == ["judging", "repeat"]
    await world.services.deliveries.reject(ORIGINAL, Rejected("two contents", rule="chunk_conflict"))
    await agents.upload({key: content for key, content in FILES.items() if key != ACCOUNTS})
    await world.split_everything()
    return world.unread()


async def give(agents: Agents, world: World, messages: list[Sent]) -> None:
    """These messages, and after each at once what follows from it."""
    for one in messages:
        await agents.give(one.topic, one.value, key=one.key)
        await give(agents, world, [sent for sent in world.unread() if not sent.topic.startswith("outbound.")])


def delivery_of(one: Sent) -> int | None:
    """The delivery that a chunk or a fact is about."""
    if one.topic == "chunks":
        return decode_chunk(one.value)[0].delivery_id
    fact = decode_progress(one.value)
    return fact.delivery_id if isinstance(fact, DeliverySealed | DeliveryRemoved | ChunkPersisted) else None


def of_delivery(messages: list[Sent], delivery_id: int) -> tuple[list[Sent], list[Sent]]:
    """The chunks of a delivery, and what is said of it."""
    about = [one for one in messages if delivery_of(one) == delivery_id]
    return [one for one in about if one.topic == "chunks"], [one for one in about if one.topic == "progress"]


@pytest.mark.parametrize("is_sealed_first", [False, True])
async def test_a_revived_repeat_counts_once_the_ledger_lists_it_again(is_sealed_first: bool) -> None:
    world = World(chunk_bytes=30)
    async with world.agents() as agents:
        waiting = await revived(world, agents)
        [ended] = [
            one for one in world.sender.sent if of_type("progress", "delivery_removed")(one) and delivery_of(one) == REPEAT
        ]
        chunks, sealed = of_delivery(waiting, REPEAT)
        last_chunks, last_sealed = of_delivery(waiting, max(world.ledger.deliveries))
        await give(agents, world, [one for one in waiting if one not in (*chunks, *sealed, *last_chunks, *last_sealed)])
        assert len(chunks) > 1
        if is_sealed_first:
            # That it had ended comes again, late: facts come at least once.
            await give(agents, world, [*sealed, ended, *last_sealed, *chunks, *last_chunks])
        else:
            await give(agents, world, [chunks[0], *last_sealed, *chunks[1:], *sealed, *last_chunks])
        assert world.ledger.deliveries[REPEAT].state == "complete"
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected() != []
    assert remembered(world) == {}
