"""Reading and changing the broker's topics."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    BrokerResponseError,
    GroupCoordinatorNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.topics import AddPartitions, CannotChange, Change, CreateTopic, ExistingTopic, SetConfig

_REQUEST_TIMEOUT_MS = 15_000
# Where a setting comes from, in Kafka's protocol: 1 is "made for this topic".
_MADE_FOR_THE_TOPIC = 1


@asynccontextmanager
async def _admin(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    except BrokerResponseError as error:
        kind = Unavailable if error.retriable else Misconfigured
        raise kind(f"Kafka at {broker} refuses: {error}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {broker} does not answer as it should: {error or type(error).__name__}") from error
    finally:
        await admin.close()


async def existing_topics(broker: str) -> dict[str, ExistingTopic]:
    """Every topic of the broker by name, Kafka's own left out.

    Raises:
        Unavailable: the broker cannot be reached.
    """
    async with _admin(broker) as admin:
        return await _existing(admin)


async def partition_numbers(broker: str, topic: str) -> list[int]:
    """The partitions of a topic.

    Raises:
        Unavailable: the broker cannot be reached.
        Misconfigured: there is no such topic.
    """
    async with _admin(broker) as admin:
        [described] = await admin.describe_topics([topic])
    if not described["partitions"]:
        raise Misconfigured(f"Kafka at {broker} has no topic {topic}: run `dataharvest topics apply`")
    return sorted(one["partition"] for one in described["partitions"])


async def group_offsets(broker: str, group: str) -> dict[tuple[str, int], int]:
    """What the group has committed, by topic and partition; empty when it never did.

    Raises:
        Unavailable: the broker cannot be reached.
    """
    async with _admin(broker) as admin:
        try:
            committed = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            # On a fresh broker: nobody has ever been a member of any group.
            return {}
    return {(place.topic, place.partition): one.offset for place, one in committed.items() if one.offset >= 0}


async def _existing(admin: AIOKafkaAdminClient) -> dict[str, ExistingTopic]:
    described = await admin.describe_topics()
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["is_internal"]}
    configs = await _configs(admin, partitions)
    return {
        name: ExistingTopic(partitions=count, config=configs[name][0], overrides=configs[name][1])
        for name, count in sorted(partitions.items())
        if name in configs
    }


async def _configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """By topic: every setting in force, and those made for the topic alone."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answers = await admin.describe_configs(resources) if resources else []
    found = {}
    for answer in answers:
        for code, message, _, name, entries in (resource[:5] for resource in answer.resources):
            if code == UnknownTopicOrPartitionError.errno:
                # Deleted between the two requests.
                continue
            _raise_for(code, message)
            # An entry is (name, value, read only, source, sensitive, …); a sensitive value comes as None.
            values = [(entry[0], entry[1], entry[3]) for entry in entries if entry[1] is not None]
            effective = {key: value for key, value, _ in values}
            found[name] = (effective, {key: value for key, value, source in values if source == _MADE_FOR_THE_TOPIC})
    return found


async def apply(broker: str, changes: Iterable[Change], *, replication_factor: int = 1) -> None:
    """Make the changes, in their order; returns when the broker shows them. One that cannot be made is left out.

    A topic that someone else creates at the same moment is taken as it is; a second plan shows what still differs.

    Raises:
        Unavailable: the broker cannot be reached; the changes before this one are made.
        Misconfigured: the broker refuses a change; the changes before this one are made.
    """
    async with _admin(broker) as admin:
        made = list(changes)
        for change in made:
            await _make(admin, change, replication_factor=replication_factor)
        async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
            # The broker answers a change before its metadata shows it.
            while made and not _shown(made, await _existing(admin)):
                await asyncio.sleep(0.05)


async def _make(admin: AIOKafkaAdminClient, change: Change, *, replication_factor: int) -> None:
    match change:
        case CreateTopic(topic=topic):
            new = NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=dict(topic.config))
            await _create(admin, new)
        case AddPartitions(name=name, after=after):
            await admin.create_partitions({name: NewPartitions(after)})
        case SetConfig(name=name, overrides=overrides):
            await _set_config(admin, name, overrides)
        case CannotChange():
            pass


def _shown(changes: Iterable[Change], existing: Mapping[str, ExistingTopic]) -> bool:
    for change in changes:
        match change:
            case CreateTopic(topic=topic) if topic.name not in existing:
                return False
            case AddPartitions(name=name, after=after) if existing[name].partitions < after:
                return False
            case SetConfig(name=name, after=wanted) if wanted.items() - existing[name].config.items():
                return False
    return True


async def _create(admin: AIOKafkaAdminClient, new: NewTopic) -> None:
    answer = await admin.create_topics([new])
    for _, code, message in (error[:3] for error in answer.topic_errors):
        if code != TopicAlreadyExistsError.errno:
            _raise_for(code, message)


async def _set_config(admin: AIOKafkaAdminClient, name: str, overrides: Mapping[str, str]) -> None:
    answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=dict(overrides))])
    for answer in answers:
        for code, message in (resource[:2] for resource in answer.resources):
            _raise_for(code, message)


def _raise_for(code: int, message: str | None) -> None:
    if code:
        raise for_code(code)(message)


class KafkaConsumption:
    """The port ``Consumption`` on Kafka, for one consumer group."""

    def __init__(self, broker: str, *, group: str) -> None:
        self._broker = broker
        self._group = group

    async def have_passed(self, topic: str, offsets: Mapping[int, int]) -> bool:
        """See the port."""
        places = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        if not places:
            return True
        async with _admin(self._broker) as admin:
            committed = await admin.list_consumer_group_offsets(self._group, partitions=list(places))
        begins, ends = await self._bounds(list(places))
        # Before the begin it was deleted; beyond the end the topic was made anew. Either way the message is gone.
        return all(
            offset < max(committed[place].offset, begins[place]) or offset >= ends[place] for place, offset in places.items()
        )

    async def lag(self) -> dict[str, int]:
        """By topic: messages between the group's commits and the ends of the partitions it has ever committed."""
        async with _admin(self._broker) as admin:
            committed = await admin.list_consumer_group_offsets(self._group)
        begins, ends = await self._bounds(list(committed)) if committed else ({}, {})
        found: dict[str, int] = {}
        for place, one in committed.items():
            waiting = max(0, ends[place] - max(one.offset, begins[place]))
            found[place.topic] = found.get(place.topic, 0) + waiting
        return found

    async def _bounds(self, places: list[TopicPartition]) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._broker, enable_auto_commit=False)
        try:
            await consumer.start()
            return await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._broker} does not answer: {error or type(error).__name__}") from error
        finally:
            await consumer.stop()
