"""A large delivery's judgement, step by step: lost, repeated and reordered messages, ended workers and a correction meanwhile."""

import random

import pytest

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.messages import Judgement, decode_work
from tests.agents.losses import QUIET, expected, first, journey, of_type, remembered, swept
from tests.agents.worlds import World, example_files

FILES = example_files()
TRANSACTIONS = "acme/transactions_20261123.csv"
IS_JUDGEMENT = of_type("work", "judge")


def small_slices() -> World:
    """A world in which every file of more than two records is judged in slices."""
    return World(slice_rows=2)


def judgements(world: World) -> list[Judgement]:
    """Every judgement that was sent."""
    found = [decode_work(one.value) for one in world.sender.sent if IS_JUDGEMENT(one)]
    return [one for one in found if isinstance(one, Judgement)]


def is_of_transactions(one: Sent) -> bool:
    """Whether it is a judgement of the transactions."""
    return IS_JUDGEMENT(one) and b'"transactions"' in one.value


def steps_of(world: World, entity: str) -> int:
    return sum(one.entity == entity for one in judgements(world))


async def test_slices_lead_to_the_same_messages_as_the_whole() -> None:
    world = small_slices()
    async with world.agents() as agents:
        await agents.upload(FILES)
        await journey(world, agents)
        assert await swept(world) == QUIET
    row_count = len(FILES[TRANSACTIONS].splitlines()) - 1
    assert steps_of(world, "transactions") == -(-row_count // 2) + 1
    assert sorted(world.outbound()) == await expected() != []
    assert remembered(world) == {}


@pytest.mark.parametrize("seed", range(5))
async def test_judgements_that_come_twice_and_in_any_order_change_nothing(seed: int) -> None:
    world, order = small_slices(), random.Random(seed)
    async with world.agents() as agents:
        await agents.upload(FILES)
        while True:
            await world.split_everything()
            fresh = [one for one in world.unread() if one.topic != "dead-letters" and not one.topic.startswith("outbound.")]
            if not fresh:
                break
            again = [one for one in fresh if IS_JUDGEMENT(one) and order.random() < 0.3]
            mixed = order.sample(fresh + again, len(fresh) + len(again))
            for one in mixed:
                await agents.give(one.topic, one.value, key=one.key)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_a_step_whose_message_got_lost_is_sent_by_the_sweep_and_nothing_is_counted_anew() -> None:
    undisturbed, world = small_slices(), small_slices()
    async with undisturbed.agents() as agents:
        await agents.upload(FILES)
        await journey(undisturbed, agents)
    step_count = steps_of(undisturbed, "transactions")
    async with world.agents() as agents:
        await agents.upload(FILES)
        for _ in range(step_count):
            [_] = await journey(world, agents, lost=is_of_transactions)
            assert world.outbound() == []
            assert await swept(world) == {"unsent judgements": 1}
            [step] = world.unread()
            await agents.give(step.topic, step.value, key=step.key)
        await journey(world, agents)
    assert steps_of(world, "transactions") == 2 * step_count
    assert sorted(world.outbound()) == await expected()


async def test_the_whole_set_again_in_the_middle_of_its_judgement_changes_nothing() -> None:
    world = small_slices()
    async with world.agents() as agents:
        await agents.upload(FILES)
        [lost] = await journey(world, agents, lost=first(is_of_transactions))
        await agents.give(lost.topic, lost.value, key=lost.key)
        await agents.upload(FILES)
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_a_correction_in_the_middle_of_a_judgement_ends_in_its_values() -> None:
    corrected = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS].replace(b",5000,", b",7000,")}
    alone, world = World(), small_slices()
    async with alone.agents() as agents:
        await agents.upload(corrected)
        await journey(alone, agents)
    async with world.agents() as agents:
        await agents.upload(FILES)
        [begun] = await journey(world, agents, lost=first(is_of_transactions))
        await agents.give(begun.topic, begun.value, key=begun.key)
        [step] = await journey(world, agents, lost=first(is_of_transactions))
        assert steps_of(world, "transactions") > 1
        await agents.upload({TRANSACTIONS: corrected[TRANSACTIONS]})
        await journey(world, agents)
        await agents.give(step.topic, step.value, key=step.key)
        await journey(world, agents)
        await world.services.sweep.once()
        await journey(world, agents)
    assert sorted(world.outbound()) == sorted(alone.outbound()) != await expected()
