"""F10, F11 and F17: messages that come twice, shuffled, or all again; poison on every topic; chunks that kill their workers."""

import asyncio
import time
from functools import partial

from tests.faults.bugs import planted
from tests.faults.bugs.poison import KILLER, PANIC
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.poison import NEVER_WAS, POISON, Poison
from tests.faults.topics import messages_of, producer_of, repeating, send_again, set_back
from tests.faults.trial import Trial, no_lag
from tests.kills.sets import make_set
from tests.kills.world import eventually

SHARE = 0.1
DEAD_S = 60.0
_DEAD = "SELECT rule FROM dead_letter WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3)"


async def some_twice(trial: Trial, count: int, scale: Scale) -> None:
    """A tenth of all messages comes twice."""
    broker = trial.world.environment["DATAHARVEST_BROKER"]
    topics = ("uploads", "chunks", "progress", "readiness", "work")
    async with trial.fault("F10", "one message in ten comes twice") as entry:
        async with repeating(broker, topics, share=SHARE, chance=trial.chance) as sent:
            await trial.feed(max(1_000, scale.row_count // 2))
            await eventually(trial.pulse.at_rest, what="everything published", within_s=trial.settle_s)
        entry.did = f"{len(sent)} messages came twice"
        entry.has_happened = bool(sent)


async def again(trial: Trial, count: int, scale: Scale) -> None:
    """Messages twice; then every chunk again in any order; then the whole group from 0."""
    broker = trial.world.environment["DATAHARVEST_BROKER"]
    for _ in range(count):
        await trial.staff(2)
        await some_twice(trial, 1, scale)
        async with trial.fault("F10", "every chunk again, shuffled") as entry:
            chunks = await messages_of(broker, "chunks")
            trial.chance.shuffle(chunks)
            await send_again(broker, chunks)
            entry.did = f"{len(chunks)} chunks came again"
        async with trial.fault("F10", "the group set back to 0") as entry:
            await trial.staff(0)
            with trial.world.witness.letting_commits_fall():
                entry.did = f"{await set_back(broker)} messages came again"
            await trial.staff(2)
            await eventually(partial(no_lag, trial), what="everything read again", within_s=240)


async def poisoned(trial: Trial, count: int, scale: Scale) -> None:
    """One kind of poison after the other among good traffic: each ends where it should, and the traffic goes on."""
    await trial.staff(2)
    trial.world.witness.forget_delivery(NEVER_WAS)
    async with producer_of(trial.world.environment["DATAHARVEST_BROKER"]) as producer:
        for number in range(count):
            if number % 25 == 0:
                await trial.feed(scale.row_count // max(1, -(-count // 25)))
            one = POISON[number % len(POISON)] if count >= len(POISON) else trial.chance.choice(POISON)
            async with trial.fault("F11", f"poison on {one.topic}: {one.name}") as entry:
                started = time.monotonic()
                sent = await producer.send_and_wait(one.topic, one.value, key=one.key, partition=0)
                await _swallowed(trial, one, sent.partition, sent.offset)
                entry.did = f"dead-lettered, {one.rule}" if one.rule else "nothing to do"
                entry.recovery_s = time.monotonic() - started


async def _swallowed(trial: Trial, one: Poison, partition: int, offset: int) -> None:
    place = (one.topic, partition, offset)
    witness = trial.world.witness
    if one.rule:
        trial.journal.expected_dead.add(place)

        async def is_dead() -> bool:
            return bool(await witness.ledger.fetch(_DEAD, *place))

        await eventually(is_dead, what=f"{one.name} dead-lettered", within_s=DEAD_S)
        rule = (await witness.ledger.fetch(_DEAD, *place))[0]["rule"]
        if rule != one.rule:
            witness.violations.other.add(f"poison {one.name} was dead-lettered as {rule}, expected {one.rule}")
        return

    async def is_passed() -> bool:
        committed = await witness.commits()
        return any(one.topic == at.topic and partition == at.partition and end > offset for at, end in committed.items())

    await eventually(is_passed, what=f"{one.name} passed", within_s=DEAD_S)


async def crashing(trial: Trial, count: int, scale: Scale) -> None:
    """A chunk over which the parser panics, and one that kills its worker: dead-lettered at the third attempt, others go on."""
    await trial.staff(0)
    for number in range(count):
        mark = (PANIC, KILLER)[number % 2]
        kind = "panics over" if mark == PANIC else "is killed by"
        async with trial.fault("F17", f"the worker {kind} a chunk") as entry:
            sick = f"{trial.name}-sick-{number}"
            await _upload_sick(trial, sick, mark)
            load = await trial.feed(max(800, scale.row_count // max(1, count) // 4))
            since = time.monotonic()
            keeper = asyncio.create_task(_keep_alive(trial))
            try:
                await eventually(partial(_gave_up, trial, sick), what="dead-lettered as crashed_worker", within_s=120)
                entry.did = f"dead-lettered {time.monotonic() - since:.0f} s after the upload"
                published = partial(_published, trial, [one.tenant for one in load])
                await eventually(published, what="other tenants published", within_s=60)
                entry.recovery_s = time.monotonic() - since
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)


async def _upload_sick(trial: Trial, tenant: str, mark: bytes) -> None:
    files = make_set(tenant, seed=tenant, file_bytes=3_000)
    client, bucket = trial.world.s3(), trial.world.environment["DATAHARVEST_S3_BUCKET"]
    content = files.file("clients") + b"99," + mark + b",x,00000000-0000-4000-8000-000000000000,1\n"
    await asyncio.to_thread(lambda: client.put_object(Bucket=bucket, Key=files.object_key("clients"), Body=content))
    client.close()


async def _keep_alive(trial: Trial) -> None:
    """What a supervisor does."""
    while True:
        for worker in trial.world.crew.members:
            trial.world.crew.forgive(worker)
        if not trial.world.crew.alive:
            trial.start(**planted("fall ill"))
        await asyncio.sleep(0.3)


async def _gave_up(trial: Trial, tenant: str) -> bool:
    query = (
        "SELECT l.topic, l.topic_partition, l.topic_offset FROM dead_letter l JOIN delivery d USING (delivery_id) "
        "WHERE l.rule = 'crashed_worker' AND d.tenant = $1"
    )
    found = await trial.world.witness.ledger.fetch(query, tenant)
    trial.journal.expected_dead.update(tuple(row) for row in found)
    return bool(found)


async def _published(trial: Trial, tenants: list[str]) -> bool:
    return await trial.world.witness.ledger.published(tenants) >= set(tenants)


F10 = Kind("F10", "messages twice, shuffled, all again", times(1, 1, 3), again)
F11 = Kind("F11", "poison messages among good traffic", times(1, 25, 100), poisoned)
F17 = Kind("F17", "chunks that end their worker", times(1, 2, 20), crashing)
