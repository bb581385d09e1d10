"""A plan, applied to a real broker, leaves nothing to plan."""

from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from dataharvest.adapters.kafka_admin import apply, existing_topics
from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.topics import AddPartitions, CannotChange, CreateTopic, SetConfig, Topic, difference, load_topics, verify


@pytest.fixture
def broker(stack_environment: dict[str, str]) -> str:
    return stack_environment["DATAHARVEST_BROKER"]


def renamed(topics: list[Topic]) -> list[Topic]:
    """The same topics under names that no other test uses."""
    run = uuid4().hex
    return [topic.model_copy(update={"name": f"{run}-{topic.name}"}) for topic in topics]


async def forget(broker: str, topics: list[Topic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.delete_topics([topic.name for topic in topics])
    await admin.close()


async def test_every_topic_is_created_and_then_nothing_differs(broker: str) -> None:
    topics = renamed(list(load_topics().values()))
    plan = difference(topics, await existing_topics(broker))
    assert [type(change) for change in plan] == [CreateTopic] * len(topics)
    await apply(broker, plan)
    existing = await existing_topics(broker)
    assert difference(topics, existing) == []
    assert verify(topics, existing) == []
    for topic in topics:
        assert existing[topic.name].overrides == topic.config
    await forget(broker, topics)


async def test_a_topic_that_differs_is_changed_and_keeps_its_other_settings(broker: str) -> None:
    [work] = renamed([load_topics()["work"]])
    old = work.model_copy(update={"partitions": 3, "config": {"retention.ms": "1000", "min.insync.replicas": "1"}})
    await apply(broker, difference([old], {}))
    plan = difference([work], await existing_topics(broker))
    assert [type(change) for change in plan] == [AddPartitions, SetConfig]
    await apply(broker, plan)
    existing = await existing_topics(broker)
    assert difference([work], existing) == []
    assert existing[work.name].partitions == work.partitions
    assert existing[work.name].overrides == {**work.config, "min.insync.replicas": "1"}
    await forget(broker, [work])


async def test_too_many_partitions_stay_and_applying_says_nothing_else(broker: str) -> None:
    [work] = renamed([load_topics()["work"]])
    await apply(broker, difference([work.model_copy(update={"partitions": 20})], {}))
    plan = difference([work], await existing_topics(broker))
    assert plan == [CannotChange(name=work.name, before=20, after=16)]
    await apply(broker, plan)
    assert (await existing_topics(broker))[work.name].partitions == 20
    await forget(broker, [work])


async def test_a_topic_that_someone_else_made_in_between_is_taken_as_it_is(broker: str) -> None:
    [work] = renamed([load_topics()["work"]])
    plan = difference([work], {})
    await apply(broker, plan)
    await apply(broker, plan)
    assert difference([work], await existing_topics(broker)) == []
    await forget(broker, [work])


async def test_what_the_broker_refuses_is_said(broker: str) -> None:
    [work] = renamed([load_topics()["work"]])
    wrong = work.model_copy(update={"config": {"cleanup.policy": "nonsense"}})
    with pytest.raises(Misconfigured, match="nonsense"):
        await apply(broker, difference([wrong], {}))


async def test_a_broker_that_is_away_is_an_outage(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable):
        await existing_topics(f"127.0.0.1:{unused_tcp_port}")
