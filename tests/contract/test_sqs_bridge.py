"""Every event of the queue reaches Kafka before it leaves the queue."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from moto.server import ThreadedMotoServer

from dataharvest.adapters.kafka import KafkaSender
from dataharvest.adapters.kafka_admin import apply
from dataharvest.adapters.sqs import SqsQueue, sqs_client
from dataharvest.bridge import QueuedEvent, bridge_once, message_key, run_bridge
from dataharvest.errors import Unavailable
from dataharvest.ports import Position
from dataharvest.rules.events import objects_in
from dataharvest.topics import difference, load_topics

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

RAW = orjson.dumps(
    {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "t/end+of+day.csv"}}}]}
)
SNS = orjson.dumps({"Type": "Notification", "Message": RAW.decode()})
EVENT_BRIDGE = orjson.dumps(
    {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": "t/a.csv"}}}
)
TEST_EVENT = orjson.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})
UNREADABLE = "what is this? ü".encode()


class Killed(BaseException):
    """The process ended here."""


class Uploads:
    """The topic, in memory."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []
        self.failures: list[Unavailable] = []

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        await self.send_many(topic, [(key, value)])
        return Position(topic, 0, len(self.sent) - 1)

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        assert topic == "uploads"
        if self.failures:
            raise self.failures.pop()
        self.sent += messages


class DiesBeforeDeleting(SqsQueue):
    """A bridge that is killed once Kafka has the events."""

    async def delete(self, receipts: Sequence[str]) -> None:
        raise Killed


@pytest.fixture(scope="module")
def sqs_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(sqs_server: str) -> Iterator["SQSClient"]:
    client = sqs_client(f"{sqs_server}/queue", access_key="a", secret_key="s", region="eu-central-1")
    yield client
    client.close()


@pytest.fixture
def queue_url(client: "SQSClient") -> str:
    # What was received and not deleted comes again at once.
    return client.create_queue(QueueName=uuid4().hex, Attributes={"VisibilityTimeout": "0"})["QueueUrl"]


def put(client: "SQSClient", queue_url: str, *bodies: bytes) -> None:
    for body in bodies:
        client.send_message(QueueUrl=queue_url, MessageBody=body.decode())


def waiting(client: "SQSClient", queue_url: str) -> int:
    answer = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
    attributes = answer["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


async def test_every_kind_of_body_is_carried_unchanged_and_then_deleted(client: "SQSClient", queue_url: str) -> None:
    bodies = [RAW, SNS, EVENT_BRIDGE, TEST_EVENT, UNREADABLE]
    put(client, queue_url, *bodies)
    uploads, queue = Uploads(), SqsQueue(client, queue_url, wait_s=0)
    while await bridge_once(queue, uploads):
        pass
    assert sorted(value for _, value in uploads.sent) == sorted(bodies)
    assert waiting(client, queue_url) == 0


def test_a_message_is_keyed_by_the_object_that_it_names() -> None:
    assert message_key(RAW) == message_key(SNS) == b"b/t/end of day.csv"
    assert message_key(EVENT_BRIDGE) == b"b/t/a.csv"
    assert message_key(TEST_EVENT) == message_key(UNREADABLE) == b""


async def test_an_empty_queue_carries_nothing(client: "SQSClient", queue_url: str) -> None:
    assert await bridge_once(SqsQueue(client, queue_url, wait_s=0), Uploads()) == 0


async def test_nothing_is_deleted_that_kafka_has_not_acknowledged(client: "SQSClient", queue_url: str) -> None:
    put(client, queue_url, RAW, SNS, EVENT_BRIDGE)
    uploads, queue = Uploads(), SqsQueue(client, queue_url, wait_s=0)
    uploads.failures = [Unavailable("no broker")]
    with pytest.raises(Unavailable):
        await bridge_once(queue, uploads)
    assert (uploads.sent, waiting(client, queue_url)) == ([], 3)
    while await bridge_once(queue, uploads):
        pass
    assert {value for _, value in uploads.sent} == {RAW, SNS, EVENT_BRIDGE}
    assert waiting(client, queue_url) == 0


async def test_a_bridge_killed_between_sending_and_deleting_sends_again(client: "SQSClient", queue_url: str) -> None:
    put(client, queue_url, RAW)
    uploads = Uploads()
    with pytest.raises(Killed):
        await bridge_once(DiesBeforeDeleting(client, queue_url, wait_s=0), uploads)
    assert await bridge_once(SqsQueue(client, queue_url, wait_s=0), uploads) == 1
    assert [objects_in(value) for _, value in uploads.sent] == [objects_in(RAW)] * 2
    assert waiting(client, queue_url) == 0


async def test_an_outage_is_waited_out_and_then_everything_is_carried(client: "SQSClient", queue_url: str) -> None:
    put(client, queue_url, RAW, SNS)
    uploads, stop, connections = Uploads(), asyncio.Event(), []
    uploads.failures = [Unavailable("no broker")] * 2

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[SqsQueue, Uploads]]:
        connections.append(len(uploads.sent))
        if len(connections) == 1:
            raise Unavailable("no broker yet")
        yield SqsQueue(client, queue_url, wait_s=0), uploads

    bridge = asyncio.create_task(run_bridge(connect, stop=stop, first_delay_s=0.01))
    async with asyncio.timeout(20):
        while waiting(client, queue_url):
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(bridge, timeout=1)
    assert {value for _, value in uploads.sent} == {RAW, SNS}
    assert len(connections) == 4


async def test_a_long_poll_does_not_hold_up_the_end(client: "SQSClient", queue_url: str) -> None:
    stop, polling = asyncio.Event(), asyncio.Event()

    class Polls(SqsQueue):
        async def receive(self) -> Sequence[QueuedEvent]:
            polling.set()
            return await super().receive()

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[SqsQueue, Uploads]]:
        yield Polls(client, queue_url, wait_s=3), Uploads()

    bridge = asyncio.create_task(run_bridge(connect, stop=stop))
    await polling.wait()
    stop.set()
    await asyncio.wait_for(bridge, timeout=1)


async def test_a_queue_that_is_away_is_an_outage(unused_tcp_port: int) -> None:
    queue_url = f"http://127.0.0.1:{unused_tcp_port}/1/q"
    client = sqs_client(queue_url, access_key="a", secret_key="s", region="eu-central-1")
    with pytest.raises(Unavailable):
        await SqsQueue(client, queue_url, wait_s=0).receive()
    client.close()


async def test_a_queue_that_does_not_exist_is_an_outage(client: "SQSClient", sqs_server: str) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        await SqsQueue(client, f"{sqs_server}/123456789012/nobody", wait_s=0).receive()


@pytest.mark.parametrize(
    ("queue_url", "endpoint_url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("http://127.0.0.1:9324/1/q", "http://127.0.0.1:9324", "eu-central-1"),
    ],
)
def test_the_queues_address_names_server_and_region(queue_url: str, endpoint_url: str, region: str) -> None:
    client = sqs_client(queue_url, access_key="a", secret_key="s", region="eu-central-1")
    assert (client.meta.endpoint_url, client.meta.region_name) == (endpoint_url, region)
    client.close()


class OnTopic:
    """A sender that writes every message to one topic of the test's own."""

    def __init__(self, sender: KafkaSender, topic: str) -> None:
        self._sender, self._topic = sender, topic

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        assert topic == "uploads"
        return await self._sender.send(self._topic, key=key, value=value)

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        raise NotImplementedError


async def test_events_reach_a_topic_like_uploads(client: "SQSClient", queue_url: str, stack_environment: dict[str, str]) -> None:
    broker = stack_environment["DATAHARVEST_BROKER"]
    topic = load_topics()["uploads"].model_copy(update={"name": f"uploads-{uuid4().hex}"})
    await apply(broker, difference([topic], {}))
    put(client, queue_url, RAW, b"x" * 262_144)
    sender = KafkaSender(broker)
    while await bridge_once(SqsQueue(client, queue_url, wait_s=0), OnTopic(sender, topic.name)):
        pass
    await sender.close()
    consumer = AIOKafkaConsumer(topic.name, bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    async with asyncio.timeout(20):
        found = {(message.key, message.value) for message in [await consumer.getone(), await consumer.getone()]}
    await consumer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.delete_topics([topic.name])
    await admin.close()
    assert found == {(b"b/t/end of day.csv", RAW), (b"", b"x" * 262_144)}
