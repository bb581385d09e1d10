"""Many messages at once, as batches of a partition each."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from dataharvest import tracing
from dataharvest.rules.partitioning import partitions_of


async def partitioned(
    producer: AIOKafkaProducer, topic: str, messages: Sequence[tuple[bytes, bytes]]
) -> dict[int, list[tuple[bytes, bytes]]]:
    """Keys and values by the partition of the topic that they belong to, in order."""
    partition_count = len(await producer.partitions_for(topic))
    # As every Kafka client does it: consumers of a key must find it in one place, whoever sent it.
    partitions = partitions_of([key for key, _ in messages], partition_count)
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for partition, message in zip(partitions, messages, strict=True):
        found.setdefault(partition, []).append(message)
    return found


async def send_batches(producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Send keys and values to one partition, in order, until all are acknowledged; raises what the producer does."""
    headers = list(tracing.headers())
    batch, acknowledged = producer.create_batch(), []
    for key, value in messages:
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            # The first message of a batch always fits.
            batch.append(key=key, value=value, timestamp=None, headers=headers)
    if batch.record_count():
        # Closed, so that a single message sent meanwhile does not change it.
        batch.close()
        acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*acknowledged)
