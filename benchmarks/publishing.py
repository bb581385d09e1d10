"""How many outbound messages a second leave: in batches, as publishing sends them, against one send each.

``python -m benchmarks.publishing [--messages 300000] [--rounds 3]`` prints one line and writes
``benchmarks/results/publishing.json``. Both count until the broker has acknowledged all; its offsets say whether it has all.
"""

import argparse
import asyncio
import statistics
import sys
import time
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.site import fresh_site, keep_result
from dataharvest.adapters.kafka import KafkaSender
from dataharvest.topics import load_topics

_TOPIC = "outbound.portfolios"
_PAYLOAD = (
    b'{"message_id":"9e40659b-0000-5000-8000-000000000000","tenant":"bench","business_date":"2026-01-02","version":1,'
    b'"supersedes":null,"portfolio_reference":"9e40659b-0000-4000-8000-000000000000","cash_balance":"15000.00",'
    b'"currency":"EUR","number_of_transactions":10,"sum_of_deposits":"5000.00"}'
)

Messages = list[tuple[bytes, bytes]]


def main() -> int:
    """Run the rounds; 1 when the broker has not exactly what was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        broker = site.stack.environment()["DATAHARVEST_BROKER"]
        pairs = asyncio.run(_measure(broker, count=options.messages, rounds=options.rounds))
    return _report(pairs, count=options.messages)


async def _measure(broker: str, *, count: int, rounds: int) -> list[tuple[float, float]]:
    messages = [(f"bench|{UUID(int=number)}".encode(), _PAYLOAD) for number in range(count)]
    pairs = [(await _ours(broker, messages), await _one_by_one(broker, messages)) for _ in range(rounds)]
    found = await _message_count(broker)
    if found != 2 * rounds * count:
        print(f"publishing FAIL: the broker has {found} messages, {2 * rounds * count} were sent")
        sys.exit(1)
    return pairs


async def _ours(broker: str, messages: Messages) -> float:
    sender = KafkaSender(broker)
    await sender.send_many(_TOPIC, messages[:10])
    started = time.perf_counter()
    await sender.send_many(_TOPIC, messages[10:])
    seconds = time.perf_counter() - started
    await sender.close()
    return seconds


async def _one_by_one(broker: str, messages: Messages) -> float:
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all", enable_idempotence=True)
    await producer.start()
    started = time.perf_counter()
    await asyncio.gather(*[await producer.send(_TOPIC, value, key=key) for key, value in messages])
    seconds = time.perf_counter() - started
    await producer.stop()
    return seconds


async def _message_count(broker: str) -> int:
    places = [TopicPartition(_TOPIC, number) for number in range(load_topics()[_TOPIC].partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=broker)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(places)).values())
    finally:
        await consumer.stop()


def _report(pairs: list[tuple[float, float]], *, count: int) -> int:
    ours, single = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(peer / own for own, peer in pairs)
    rates = f"ours {count / ours:,.0f}/s, one send each {count / single:,.0f}/s"
    print(f"publishing ratio={ratio:.2f} ({rates}, messages {count:,}, rounds {len(pairs)})")
    result = {"id": "publishing", "ratio": round(ratio, 3), "messages": count, "seconds_ours_and_single": pairs}
    keep_result("publishing", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
