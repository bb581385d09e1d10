"""`dataharvest bridge`: carry S3 events from SQS to Kafka until told to stop."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.bridge import EventQueue
    from dataharvest.ports import Sender
    from dataharvest.settings import Settings


@click.command()
def bridge() -> None:
    """Carry S3 events from the SQS queue to Kafka (AWS S3 cannot write to Kafka itself)."""
    from dataharvest.errors import Misconfigured
    from dataharvest.logs import configure_logging
    from dataharvest.settings import load_settings

    settings = load_settings()
    if settings.sqs_url is None:
        raise Misconfigured("DATAHARVEST_SQS_URL is not set: the bridge has no queue to read from")
    configure_logging(settings.log_format)
    asyncio.run(_run(settings, queue_url=settings.sqs_url))


async def _run(settings: "Settings", *, queue_url: str) -> None:
    from dataharvest.bridge import run_bridge

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_bridge(lambda: _connected(settings, queue_url=queue_url), stop=stop)


@asynccontextmanager
async def _connected(settings: "Settings", *, queue_url: str) -> "AsyncIterator[tuple[EventQueue, Sender]]":
    from dataharvest.adapters.kafka import KafkaSender
    from dataharvest.adapters.sqs import SqsQueue, sqs_client

    keys = (settings.s3_access_key, settings.s3_secret_key)
    access_key, secret_key = (key.get_secret_value() if key else None for key in keys)
    client = sqs_client(queue_url, access_key=access_key, secret_key=secret_key, region=settings.s3_region)
    sender = KafkaSender(settings.broker)
    try:
        yield SqsQueue(client, queue_url), sender
    finally:
        await sender.close()
        client.close()
