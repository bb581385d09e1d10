"""The sweep, case by case: a message that got lost, a mark that was never made; every set is published all the same."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Judgement, decode_chunk, decode_progress, decode_work
from dataharvest.ports import Position
from dataharvest.sweeping import Due
from tests.agents.losses import QUIET, Lost, about_deliveries, expected, first, journey, of_type, set_key, swept
from tests.agents.worlds import BUCKET, World, example_files


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (first(of_type("readiness", "rule_ready")), {"unsent readiness": 1}),
        (first(of_type("work", "batch")), {"batches without values": 1}),
        (first(of_type("work", "judge")), {"unsent judgements": 1}),
        (of_type("progress", "batch_done"), {"rules to be concluded": 1}),
        (about_deliveries, {"deliveries to be concluded": 4}),
        (first(of_type("chunks", "chunk")), {"missing chunks": 1}),
    ],
    ids=["readiness", "batch", "judgement", "batch done", "sealed", "chunk"],
)
async def test_a_message_that_got_lost_is_given_again(lost: Lost, found: dict[str, int]) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        assert await journey(world, agents, lost=lost) != []
        assert world.outbound() == []
        report = await swept(world)
        assert found.items() <= report.items()
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(set(world.outbound())) == await expected() != []


async def test_a_file_whose_last_chunk_was_told_in_vain_is_found_though_the_table_lists_it() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        [late] = await journey(world, agents, lost=first(of_type("chunks", "chunk")))
        await agents.give(late.topic, late.value, key=late.key)
        assert [decode_progress(one.value).type for one in world.unread()] == ["chunk_persisted"]
        assert await swept(world) == {"deliveries to be concluded": 1}
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == await expected() != []


async def test_a_healthy_journey_gives_the_sweep_nothing_to_do() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents)
    assert await swept(world) == QUIET


async def test_only_the_missing_chunks_are_sent_again_and_only_once_all_were_read() -> None:
    world = World()
    lost = first(of_type("chunks", "chunk"))
    async with world.agents() as agents:
        await agents.upload(example_files())
        [dropped] = await journey(world, agents, lost=lost)
        world.consumption.everything_was_read = False
        assert "missing chunks" not in await swept(world)
        world.consumption.everything_was_read = True
        world.ledger.paused["acme"] = "audit"
        assert "missing chunks" not in await swept(world)
        del world.ledger.paused["acme"]
        world.unread()
        assert (await swept(world))["missing chunks"] == 1
        again = [one for one in world.unread() if one.topic == "chunks"]
        assert [decode_chunk(one.value)[0] for one in again] == [decode_chunk(dropped.value)[0]]


@pytest.mark.parametrize("lost", [of_type("chunks", "chunk"), of_type("work", "judge")], ids=["chunk", "judgement"])
async def test_what_was_dead_lettered_waits_for_its_replay(lost: Lost) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        [dropped] = await journey(world, agents, lost=first(lost))
        message = SimpleNamespace(key=dropped.key, value=dropped.value, headers=[])
        crashed = Rejected("three times", rule="crashed_worker")
        await world.dead_letters.keep(Position(dropped.topic, 0, 0), message=message, stage="any", reason=crashed)
        assert await swept(world) == QUIET
        assert world.unread() == []
        await agents.give(dropped.topic, dropped.value, key=dropped.key)
        await journey(world, agents)
    assert sorted(world.outbound()) == await expected()


async def test_announcements_that_were_never_sent_are_sent() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        while lease := await world.services.deliveries.lease():
            await world.services.splitter.split(lease)
        world.unread()
        assert (await swept(world))["unsent announcements"] == len(example_files())
        assert {decode_progress(one.value).type for one in world.unread() if one.topic == "progress"} == {"delivery_sealed"}


async def test_outbound_messages_whose_mark_is_missing_go_out_again() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents)
        before = sorted(world.outbound())
        [version] = world.ledger.versions[set_key(world)]
        for rule, batches in version.batches.items():
            for batch in batches:
                batch.is_done = batch.is_done and not rule.startswith("outbound.")
        assert await swept(world) == {"unsent outbound messages": 2}
        await journey(world, agents)
        assert await swept(world) == QUIET
    assert sorted(world.outbound()) == sorted([*before, *before])


async def test_readiness_and_batches_that_were_never_sent_are_sent() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents, lost=first(of_type("readiness", "rule_ready")))
        [version] = world.ledger.versions[set_key(world)]
        version.readiness = dict.fromkeys(version.readiness, False)
        assert (await swept(world))["unsent readiness"] == 1
        await journey(world, agents, lost=of_type("work", "batch"))
        for batches in version.batches.values():
            for batch in batches:
                batch.is_sent = False
        assert (await swept(world))["unsent batches"] == 1
        await journey(world, agents)
    assert sorted(world.outbound()) == await expected()


async def test_a_complete_set_nobody_decided_about_is_decided() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents, lost=of_type("progress", "delivery_judged"))
        assert not world.ledger.versions.get(set_key(world))
        assert (await swept(world))["sets to be decided"] == 1
        await journey(world, agents)
    assert sorted(world.outbound()) == await expected()


async def test_a_repeat_of_what_is_rejected_later_takes_its_place() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        [dropped] = await journey(world, agents, lost=first(of_type("work", "judge")))
        message = decode_work(dropped.value)
        assert isinstance(message, Judgement)
        original = world.ledger.deliveries[message.delivery_id]
        key = original.source.key.replace("acme/", "acme/again/")
        await agents.upload({key: example_files()[original.source.key]})
        await journey(world, agents)
        [repeat] = [one for one in world.ledger.deliveries.values() if one.state == "repeat"]
        assert await world.services.deliveries.reject(original.delivery_id, Rejected("no", rule="chunk_conflict"))
        await journey(world, agents)
        assert (original.state, repeat.state) == ("rejected", "complete")
    assert sorted(world.outbound()) == await expected()


async def test_an_object_that_cannot_be_registered_does_not_hide_the_next() -> None:
    world = World()
    await world.objects.put(BUCKET, "acme/nonsense.txt", b"")
    await world.objects.put(BUCKET, "zen/accounts_20261123.csv", b"")
    assert await swept(world) == {"objects without a delivery": 2}
    assert {row.state for row in world.ledger.deliveries.values()} == {"rejected", "registered"}


async def test_a_set_that_is_not_complete_at_its_cut_off_is_late_even_without_a_file() -> None:
    world = World()
    due = datetime(2026, 11, 23, 18, tzinfo=UTC)
    key = SetKey("zen", date(2026, 11, 23))
    world.sweep_state.dues = [Due("zen", lambda day: due if day == key.business_date else None, due.replace(hour=0))]
    world.sweep_state.moment = due.replace(hour=17)
    assert await swept(world) == QUIET
    world.sweep_state.moment = due.replace(hour=19)
    assert await swept(world) == {"late sets": 1}
    assert await swept(world) == QUIET
    assert world.ledger.late == {key: due}
