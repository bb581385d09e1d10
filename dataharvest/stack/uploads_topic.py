"""The topic ``uploads``, which must exist before the S3 server that publishes to it starts."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

UPLOADS = "uploads"
DECLARATION = Path(__file__).resolve().parents[2] / "topics" / "uploads.yaml"
USUAL_PARTITION_COUNT = 4
REQUEST_TIMEOUT_MS = 5_000
UNKNOWN_TOPIC = 3


def has_leaders(broker: str) -> bool:
    """Whether every partition of ``uploads`` has a leader; the topic is made when it is absent."""
    # A thread of its own, so that callers with a running event loop can start a stack too.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_has_leaders(broker))).result()


def partition_count() -> int:
    """The number of partitions that the topic's declaration asks for."""
    import yaml  # noqa: PLC0415

    if not DECLARATION.exists():
        return USUAL_PARTITION_COUNT
    declared = yaml.safe_load(DECLARATION.read_text(encoding="utf-8")) or {}
    return int(declared.get("partitions", USUAL_PARTITION_COUNT))


async def _has_leaders(broker: str) -> bool:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: PLC0415
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    client = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await client.start()
        topic = (await client.describe_topics([UPLOADS]))[0]
        if topic["error_code"] == UNKNOWN_TOPIC:
            await client.create_topics([NewTopic(UPLOADS, partition_count(), 1)])
            return False
        return topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])
    except KafkaError:
        return False
    finally:
        await client.close()
