"""A consumer group's committed offsets: read, and set while it has no member."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from dataharvest.adapters.kafka_admin import group_offsets
from dataharvest.errors import Rejected, Unavailable
from dataharvest.replaying.log import TopicLog
from dataharvest.replaying.offsets import GroupPosition, Move


class KafkaOffsets:
    """The offsets of one group."""

    def __init__(self, broker: str, *, group: str, log: TopicLog) -> None:
        self._broker = broker
        self._group = group
        self._log = log

    async def positions(self, topics: Iterable[str]) -> list[GroupPosition]:
        """Where the group stands, in order of topic and partition.

        Raises:
            Misconfigured: a topic is missing.
            Unavailable: Kafka is not there.
        """
        committed = await group_offsets(self._broker, self._group)
        return [
            GroupPosition(topic, number, committed.get((topic, number)), span)
            for topic in topics
            for number, span in (await self._log.bounds(topic)).items()
        ]

    async def commit(self, moves: Iterable[Move]) -> None:
        """Let the group begin at the targets.

        Raises:
            Rejected: rule ``group_has_members``: a worker joined meanwhile; nothing has changed.
            Unavailable: Kafka is not there.
        """
        offsets = {TopicPartition(one.position.topic, one.position.partition): OffsetAndMetadata(one.target, "") for one in moves}
        consumer = AIOKafkaConsumer(bootstrap_servers=self._broker, group_id=self._group, enable_auto_commit=False)
        try:
            await consumer.start()
            # Assigned, not subscribed: it does not become a member, and the broker takes this only while there is none.
            consumer.assign(list(offsets))
            await consumer.commit(offsets)
        except CommitFailedError as error:
            raise Rejected("a worker has joined the group meanwhile; stop it and try again", rule="group_has_members") from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka at {self._broker} does not answer: {error or type(error).__name__}") from error
        finally:
            await consumer.stop()
