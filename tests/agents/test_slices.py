"""A set that is related in slices: lost and repeated slices, and the verdict, which only the last one can give."""

from collections.abc import Mapping

from dataharvest.adapters.memory_ledger import StoredVersion
from dataharvest.messages import RuleReady, decode_rule_ready
from dataharvest.rulebook import RELATIONSHIP
from tests.agents.losses import QUIET, expected, first, journey, of_type, remembered, set_key, swept
from tests.agents.worlds import Agents, World, example_files

FILES = example_files()
TRANSACTIONS = "acme/transactions_20261123.csv"
STRAYS = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b"97,77777777,t97,1,FEE\n98,88888888,t98,1,FEE\n99,99999999,t99,1,FEE\n"}
SLICES = 3


async def sliced(world: World, agents: Agents, files: Mapping[str, bytes]) -> None:
    """The set up to the readiness to be related; that is planned in slices, as that of a large set would be."""
    await agents.upload(files)
    [ready] = await journey(world, agents, lost=first(of_type("readiness", "rule_ready")))
    relating: RuleReady = decode_rule_ready(ready.value)
    assert relating.rule == RELATIONSHIP
    await world.services.work.plan(relating, batch_count=SLICES)
    await agents.give(ready.topic, ready.value, key=ready.key)


def version_of(world: World) -> StoredVersion:
    [version] = world.ledger.versions[set_key(world)]
    return version


async def test_slices_lead_to_the_same_messages_as_the_whole() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, FILES)
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert [one.is_done for one in version_of(world).batches[RELATIONSHIP]] == [True] * SLICES
    assert sorted(world.outbound()) == await expected() != []


async def test_a_slice_whose_message_got_lost_is_sent_again() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, FILES)
        [_] = await journey(world, agents, lost=first(of_type("work", "batch")))
        assert world.outbound() == []
        assert await swept(world) == {"batches without values": 1}
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_a_slice_that_comes_twice_counts_once() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, STRAYS)
        await journey(world, agents)
        for one in [one for one in world.sender.sent if of_type("work", "batch")(one)]:
            await agents.give(one.topic, one.value, key=one.key)
        await journey(world, agents)
    version = version_of(world)
    assert dict(version.orphans) == {"transactions without an account": 3}
    assert len(version.links) == len(FILES["acme/portfolios_20261123.csv"].splitlines()) - 1


async def test_the_last_slice_blocks_the_set_and_says_the_sum() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, STRAYS)
        [_] = await journey(world, agents, lost=first(of_type("work", "batch")))
        # Orphans of the other slices alone decide nothing.
        assert version_of(world).state == "open"
        await swept(world)
        await journey(world, agents)
    version = version_of(world)
    assert (version.state, version.failure) == ("blocked", {"rule": "orphans", "message": "3 transactions without an account"})
    assert world.outbound() == []


def unblock(world: World) -> None:
    """What applying a contract that allows the orphans does."""
    version = version_of(world)
    assert version.state == "blocked"
    version.state, version.failure = "open", None
    for one in version.batches[RELATIONSHIP]:
        one.is_done = one.is_done or one.is_computed


async def goes_on_once_unblocked(world: World, agents: Agents) -> None:
    unblock(world)
    assert await swept(world) == {"rules to be concluded": 1}
    await journey(world, agents)
    assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected() != []
    assert remembered(world) == {}


async def test_a_set_that_another_contract_unblocks_goes_on_though_its_last_slice_told_nothing() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, STRAYS)
        is_last = f'"batch":{SLICES - 1},'.encode()
        [last] = await journey(world, agents, lost=lambda one: of_type("work", "batch")(one) and is_last in one.value)
        await agents.give(last.topic, last.value, key=last.key)
        await goes_on_once_unblocked(world, agents)


async def test_a_set_is_unblocked_though_its_slices_were_told_while_it_was_blocked() -> None:
    world = World()
    async with world.agents() as agents:
        await sliced(world, agents, STRAYS)
        late = await journey(world, agents, lost=of_type("progress", "batch_done"))
        assert len(late) == SLICES - 1
        for one in late:
            await agents.give(one.topic, one.value, key=one.key)
        await goes_on_once_unblocked(world, agents)
