"""A message that was dead-lettered and is replayed has its effect, once its cause is gone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from dataharvest.adapters.memory_dead_letters import MemoryDeadLetterBox
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.errors import ObjectTrouble
from dataharvest.objects import ObjectVersion
from dataharvest.ports import Position
from dataharvest.replaying.dead_letters import DeadLetter, LetterChoice, replay_letter
from tests.agents.worlds import World, example_files


def letter_of(position: Position) -> DeadLetter:
    """An open letter."""
    return DeadLetter(
        position=position,
        stage="work",
        rule="unreadable_message",
        reason="can't be read",
        failed_at=datetime(2026, 11, 23, 18, tzinfo=UTC),
        state="open",
    )


class LockedStore(MemoryObjectStore):
    """A bucket that nobody may look into until it is opened."""

    is_open = False

    async def head(self, bucket: str, key: str) -> ObjectVersion | None:
        if not self.is_open:
            raise ObjectTrouble("forbidden", code=403)
        return await super().head(bucket, key)


async def opened(world: World, store: LockedStore, box: MemoryDeadLetterBox) -> AsyncIterator[str]:
    store.is_open = True
    for one in await box.find(LetterChoice(state="open")):
        yield (await replay_letter(one.position, box=box, sender=world.sender, by="anna")).sentence


async def test_a_set_whose_events_were_dead_lettered_is_published_after_their_replay() -> None:
    store = LockedStore(versioned=True)
    world = World(objects=store)
    box = world.dead_letters
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()
        assert [one.rule for one in await box.find(LetterChoice())] == ["object_forbidden"] * 4
        assert world.outbound() == []
        sentences = [sentence async for sentence in opened(world, store, box)]
        await agents.run()
    assert len(sentences) == 4
    assert len(world.outbound()) == 8
    assert await box.find(LetterChoice(state="open")) == []
