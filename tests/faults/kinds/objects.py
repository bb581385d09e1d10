"""F8: what an object store does to its readers: refuses, hangs, breaks off, changes, tells too early, twice or never."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import boto3

from dataharvest.stack import ports
from dataharvest.stack.s3 import REGION
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.load import LoadedSet, make_load
from tests.faults.pulse import Pulse
from tests.faults.topics import messages_of, producer_of, send_again
from tests.faults.trial import Trial
from tests.kills.world import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HIT_S = 60.0
_SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_STATE = "SELECT state FROM delivery WHERE object_key = $1 ORDER BY delivery_id DESC"
_FORBIDDEN_DEAD = (
    "SELECT topic, topic_partition, topic_offset FROM dead_letter WHERE rule = 'object_forbidden' AND reason LIKE ANY($1)"
)
SETTINGS = {"DATAHARVEST_SWEEP_INTERVAL_S": "2"}
"""A lost event is found by the sweep, and by nothing else."""

Do = Callable[[Trial, list[LoadedSet]], Awaitable[None]]


async def objects(trial: Trial, count: int, scale: Scale) -> None:
    """Each trouble in turn, while a load is read."""
    await trial.staff(2, **trial.site.through_proxies, **SETTINGS)
    names = list(TROUBLES)
    start = trial.chance.randrange(len(names)) if count < len(names) else 0
    for number in range(count):
        what = names[(start + number) % len(names)]
        async with trial.fault("F8", what):
            await TROUBLES[what](
                trial, make_load(f"f8-{number}", seed=f"{trial.seed}", row_count=scale.row_count // max(2, count))
            )


async def _upload(trial: Trial, load: list[LoadedSet]) -> None:
    await trial.take(load)
    await trial.world.upload(load)


def _answering(path: str, answer: bytes, times_over: int) -> Do:
    async def trouble(trial: Trial, load: list[LoadedSet]) -> None:
        proxy = trial.site.proxies["s3"]
        proxy.answers[path] = (answer, times_over)
        before = proxy.resets
        await _upload(trial, load)
        await eventually(partial(_more_than, trial, before), what="an answer replaced", within_s=HIT_S)
        await asyncio.sleep(2)
        proxy.heal()

    return trouble


async def _forbid(trial: Trial, load: list[LoadedSet]) -> None:
    """Two requests for transactions: an event whose object may not even be looked at is dead-lettered, and the sweep finds it."""
    await _answering("/transactions_", _FORBIDDEN, 2)(trial, load)
    rows = await trial.world.witness.ledger.fetch(_FORBIDDEN_DEAD, [f"%{one.object_key('transactions')}%" for one in load])
    trial.journal.expected_dead.update(tuple(row) for row in rows)


async def _more_than(trial: Trial, before: int) -> bool:
    return trial.site.proxies["s3"].resets > before


async def _hang(trial: Trial, load: list[LoadedSet]) -> None:
    proxy = trial.site.proxies["s3"]
    proxy.stall()
    await _upload(trial, load)
    # Longer than the client waits for an answer.
    await asyncio.sleep(22)
    proxy.heal()


async def _break_off(trial: Trial, load: list[LoadedSet]) -> None:
    proxy = trial.site.proxies["s3"]
    before = proxy.resets
    proxy.breaks_after = 2_000
    await _upload(trial, load)
    await eventually(partial(_more_than, trial, before + 3), what="bodies broken off", within_s=HIT_S)
    proxy.heal()


async def _overwrite(trial: Trial, load: list[LoadedSet]) -> None:
    """Other content under the key while it is read: the newest counts in the end."""
    await _upload(trial, load)
    one = load[-1]
    await eventually(partial(_is_in, trial, one, ("splitting", "sealed", "judging", "complete")), what="a reader", within_s=HIT_S)
    await trial.replace(one, one.corrected())


async def _delete(trial: Trial, load: list[LoadedSet]) -> None:
    """The key is deleted while it is read: the version that was registered is read to its end."""
    await _upload(trial, load)
    one = load[-1]
    await eventually(partial(_is_in, trial, one, ("splitting", "sealed", "judging", "complete")), what="a reader", within_s=HIT_S)
    client, bucket = trial.world.s3(), trial.world.environment["DATAHARVEST_S3_BUCKET"]
    await asyncio.to_thread(lambda: client.delete_object(Bucket=bucket, Key=one.object_key("transactions")))
    client.close()


async def _is_in(trial: Trial, one: LoadedSet, states: tuple[str, ...]) -> bool:
    rows = await trial.world.witness.ledger.fetch(_STATE, one.object_key("transactions"))
    return bool(rows) and rows[0]["state"] in states


async def _tell_early(trial: Trial, load: list[LoadedSet]) -> None:
    """Events before their objects are there, and again when they are."""
    await _tell(trial, load)
    await asyncio.sleep(0.5)
    await _upload(trial, load)


async def _tell(trial: Trial, load: list[LoadedSet]) -> None:
    bucket = trial.world.environment["DATAHARVEST_S3_BUCKET"]
    async with producer_of(trial.world.environment["DATAHARVEST_BROKER"]) as producer:
        for one in load:
            for entity in one.rows:
                named = {"bucket": {"name": bucket}, "object": {"key": one.object_key(entity)}}
                event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": named}]}
                await producer.send_and_wait("uploads", json.dumps(event).encode(), key=one.object_key(entity).encode())


async def _tell_twice(trial: Trial, load: list[LoadedSet]) -> None:
    await _upload(trial, load)
    broker = trial.world.environment["DATAHARVEST_BROKER"]
    tenants = tuple(f'"{one.tenant}/'.encode() for one in load)
    mine = [one for one in await messages_of(broker, "uploads") if any(tenant in (one[3] or b"") for tenant in tenants)]
    await send_again(broker, mine)


async def _tell_never(trial: Trial, load: list[LoadedSet]) -> None:
    """The objects are put through a server that publishes no events."""
    await trial.take(load)
    async with _silent_server(trial) as client:
        bucket = trial.world.environment["DATAHARVEST_S3_BUCKET"]
        for one in load:
            for entity in one.rows:
                content, key = one.file(entity), one.object_key(entity)
                await asyncio.to_thread(partial(client.put_object, Bucket=bucket, Key=key, Body=content))
    # Earlier ones may still be waiting until a refused object is tried again.
    pulse = Pulse(trial.world.witness, [one.tenant for one in load])
    await eventually(pulse.at_rest, what="uploads without events found", within_s=HIT_S)


@asynccontextmanager
async def _silent_server(trial: Trial) -> AsyncIterator["S3Client"]:
    service = trial.world.stack.service("s3")
    port = ports.keep_or_choose(None)
    words = list(service.command())
    words[words.index("--port") + 1] = f"{ports.HOST}:{port}"
    start = words.index("--event-kafka-url")
    del words[start : start + 4]
    settings = trial.world.environment
    with subprocess.Popen(words, env=dict(service.process_environment()), stderr=subprocess.DEVNULL) as server:
        try:
            await asyncio.to_thread(_wait_for, port)
            client = boto3.client(
                "s3",
                endpoint_url=f"http://{ports.HOST}:{port}",
                aws_access_key_id=settings["DATAHARVEST_S3_ACCESS_KEY"],
                aws_secret_access_key=settings["DATAHARVEST_S3_SECRET_KEY"],
                region_name=REGION,
            )
            yield client
            client.close()
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    while not ports.answers(port):
        pass


TROUBLES: dict[str, Do] = {
    "503 to every request for a while": _answering("/", _SLOW_DOWN, 40),
    "no answer": _hang,
    "bodies that break off": _break_off,
    "overwritten while it is read": _overwrite,
    "deleted while it is read": _delete,
    "403 for one object": _forbid,
    "the event before the object": _tell_early,
    "the event twice": _tell_twice,
    "the event never": _tell_never,
}

F8 = Kind("F8", "the object store refuses, hangs, breaks off, changes, tells wrongly", times(1, 18, 89), objects)
