"""Effects that were committed and never sent, for their worker was gone: the sweep sends each once, and all ends as it should."""

from collections.abc import Callable

import pytest

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.messages import Batch, Judgement, decode_progress, decode_rule_ready, decode_work
from tests.agents.losses import QUIET, Lost, expected, first, journey, of_type, set_key, swept
from tests.agents.worlds import World, example_files

Unmark = Callable[[World, Sent], None]


def unmark_announcement(world: World, lost: Sent) -> None:
    world.ledger.deliveries[decode_progress(lost.value).delivery_id].is_announced = False  # type: ignore[union-attr]


def unmark_judgement(world: World, lost: Sent) -> None:
    message = decode_work(lost.value)
    assert isinstance(message, Judgement)
    world.ledger.deliveries[message.delivery_id].judgement_is_sent = False


def unmark_readiness(world: World, lost: Sent) -> None:
    [version] = world.ledger.versions[set_key(world)]
    version.readiness[decode_rule_ready(lost.value).rule] = False


def unmark_batch(world: World, lost: Sent) -> None:
    [version] = world.ledger.versions[set_key(world)]
    message = decode_work(lost.value)
    assert isinstance(message, Batch)
    version.batches[message.rule][message.batch].is_sent = False


EFFECTS: list[tuple[str, Lost, Unmark]] = [
    ("unsent announcements", of_type("progress", "delivery_sealed"), unmark_announcement),
    ("unsent judgements", of_type("work", "judge"), unmark_judgement),
    ("unsent readiness", of_type("readiness", "rule_ready"), unmark_readiness),
    ("unsent batches", of_type("work", "batch"), unmark_batch),
]


@pytest.mark.parametrize(("kind", "lost", "unmark"), EFFECTS, ids=[kind for kind, _, _ in EFFECTS])
async def test_what_was_committed_and_never_sent_is_sent_once(kind: str, lost: Lost, unmark: Unmark) -> None:
    world = World()
    is_lost = first(lost) if kind != "unsent announcements" else lost
    async with world.agents() as agents:
        await agents.upload(example_files())
        unsent = await journey(world, agents, lost=is_lost)
        assert unsent
        for one in unsent:
            unmark(world, one)
        # What the sweep sends itself nobody has read yet.
        world.consumption.everything_was_read = False
        report = await swept(world)
        world.consumption.everything_was_read = True
        assert report[kind] == len(unsent)
        assert [one for one in world.unread() if lost(one)] == unsent
        for one in unsent:
            await agents.give(one.topic, one.value, key=one.key)
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_outbound_messages_that_were_never_sent_go_out_once() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents)
        [version] = world.ledger.versions[set_key(world)]
        for rule, batches in version.batches.items():
            for batch in batches:
                batch.is_done = batch.is_done and not rule.startswith("outbound.")
        world.unread()
        world.sender.sent = [one for one in world.sender.sent if one not in world.outbound()]
        world.read_count = len(world.sender.sent)
        assert await swept(world) == {"unsent outbound messages": 2}
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_a_delivery_of_which_nobody_told_the_splitters_wakes_them() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        async with world.services.deliveries.wake_ups() as woken:
            assert await swept(world) == {"deliveries nobody reads": len(example_files())}
            assert woken.is_set()
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected()


async def test_rows_that_were_to_be_removed_when_the_worker_ended_are_removed_once() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents)
        [accounts] = [key for key in example_files() if "accounts" in key]
        await agents.upload({accounts: example_files()[accounts].replace(b"EUR,", b"CHF,", 1)})
        await journey(world, agents)
        superseded = world.ledger.deliveries[1]
        assert (superseded.state, superseded.is_removed) == ("superseded", False)
        assert await swept(world) == {"deliveries with rows to remove": 1}
        assert superseded.is_removed
        assert await swept(world) == QUIET


async def test_a_manifest_of_which_nobody_told_the_set_is_told_once() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload({"acme/manifest_20261123.json": b'{"accounts": {"records": 1}}'})
        [told] = world.unread()
        world.ledger.manifests[0].is_announced = False
        assert await swept(world) == {"untold manifests": 1}
        assert world.unread() == [told]
        assert await swept(world) == QUIET
