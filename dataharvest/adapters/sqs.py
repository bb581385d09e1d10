"""Events that wait in an SQS queue."""

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dataharvest.bridge import QueuedEvent
from dataharvest.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_MOST_AT_ONCE = 10

Answer = TypeVar("Answer")


def sqs_client(queue_url: str, *, access_key: str | None, secret_key: str | None, region: str) -> "SQSClient":
    """A client of the server that the queue's address names; an AWS address names its own region too."""
    address = urlsplit(queue_url)
    named = re.fullmatch(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", address.hostname or "")
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=f"{address.scheme}://{address.netloc}",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=named[1] if named else region,
        config=Config(connect_timeout=5, read_timeout=40, retries={"mode": "standard", "max_attempts": 3}),
    )


class SqsQueue:
    """The event queue on a real SQS."""

    def __init__(self, client: "SQSClient", queue_url: str, *, wait_s: int = 20) -> None:
        """Keep the client; nothing is sent yet. ``wait_s``: length of a long poll, 0 to 20 seconds."""
        self._client = client
        self._queue_url = queue_url
        self._wait_s = wait_s

    async def receive(self) -> Sequence[QueuedEvent]:
        """See `EventQueue`."""
        poll = partial(
            self._client.receive_message,
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=_MOST_AT_ONCE,
            WaitTimeSeconds=self._wait_s,
        )
        answer = await _in_daemon_thread(poll)
        return [QueuedEvent(body=found["Body"].encode(), receipt=found["ReceiptHandle"]) for found in answer.get("Messages", [])]

    async def delete(self, receipts: Sequence[str]) -> None:
        """See `EventQueue`."""
        entries: Any = [{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)]
        answer = await _in_daemon_thread(partial(self._client.delete_message_batch, QueueUrl=self._queue_url, Entries=entries))
        if failed := answer.get("Failed"):
            raise Unavailable(f"SQS did not delete {len(failed)} messages: {failed[0].get('Message', failed[0]['Code'])}")


async def _in_daemon_thread(call: Callable[[], Answer]) -> Answer:
    # A thread of a pool would hold up the end of the process for the rest of a long poll.
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()
    threading.Thread(target=_answer, args=(loop, answer, call), name="sqs", daemon=True).start()
    return await answer


def _answer(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Answer]", call: Callable[[], Answer]) -> None:
    try:
        found = call()
    except (BotoCoreError, ClientError, OSError) as error:
        failure = Unavailable(f"SQS does not answer as it should: {error}")
        failure.__cause__ = error
        _tell(loop, answer, partial(answer.set_exception, failure))
    else:
        _tell(loop, answer, partial(answer.set_result, found))


def _tell(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Answer]", outcome: Callable[[], None]) -> None:
    def tell() -> None:
        if not answer.done():
            outcome()

    # The loop is closed when the bridge was stopped during the call; nobody waits any more.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
