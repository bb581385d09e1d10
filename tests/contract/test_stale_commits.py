"""A commit by who is no member any more: a broker takes it while the group is empty, the repaired client does not send it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from dataharvest.stale_commits import MembersOnly, commit_only_as_member

PLACE = TopicPartition("uploads", 0)


@pytest_asyncio.fixture
async def forgotten(stack_environment: dict[str, str], request: pytest.FixtureRequest) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that was the only member of its group and has committed 9, and whose membership is over without its doing."""
    consumer = AIOKafkaConsumer(
        PLACE.topic,
        bootstrap_servers=stack_environment["DATAHARVEST_BROKER"],
        group_id=request.node.name,
        enable_auto_commit=False,
    )
    await consumer.start()
    await consumer.commit({PLACE: 9})
    coordinator: Any = consumer._coordinator
    for task in (coordinator._coordination_task, coordinator._heartbeat_task):
        task.cancel()
    await coordinator._maybe_leave_group()
    yield consumer
    await consumer.stop()


async def test_without_the_repair_the_commit_of_no_member_falls(
    forgotten: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator: Any = forgotten._coordinator
    monkeypatch.setattr(type(coordinator), "_do_commit_offsets", MembersOnly.original)

    await forgotten.commit({PLACE: 5})

    assert await forgotten.committed(PLACE) == 5


async def test_with_the_repair_it_stays(forgotten: AIOKafkaConsumer) -> None:
    commit_only_as_member()

    with pytest.raises(CommitFailedError, match="already rebalanced"):
        await forgotten.commit({PLACE: 5})

    assert await forgotten.committed(PLACE) == 9
