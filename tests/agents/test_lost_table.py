"""The table is a cache: whatever of it a kill has taken away, the ledger knows, and the sets become ready all the same."""

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import dataclass, field

import pytest

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected, Unavailable
from dataharvest.messages import DeliveryRemoved, Judgement, decode_work
from dataharvest.ports import LockedSet, Position
from dataharvest.rulebook import all_rules
from dataharvest.rules.needs import Rule
from dataharvest.rules.progress import SetProgress
from dataharvest.stages.fan_out import fan_out
from dataharvest.stages.persist import persist
from dataharvest.stages.register import register
from dataharvest.stages.work import work_on
from tests.agents.worlds import BUCKET, World, example_files, s3_event

Table = dict[bytes, SetProgress]
FILE_COUNT = 4


@dataclass
class Journey:
    """The stages without Faust, around a table that may be lost."""

    world: World = field(default_factory=lambda: World(chunk_bytes=30))
    table: Table = field(default_factory=dict)

    async def begin(self) -> list[Sent]:
        """Upload and split the example files; what was sent."""
        for key, content in example_files().items():
            await self.world.objects.put(BUCKET, key, content)
            services = self.world.services
            await register(
                s3_event(key),
                bucket=BUCKET,
                objects=services.objects,
                deliveries=services.deliveries,
                manifests=services.manifests,
                contracts=services.contracts,
            )
        await self.world.split_everything()
        return self.world.unread()

    async def give(self, message: Sent) -> list[Sent]:
        """Let the stage of the message's topic have it; what was sent in turn."""
        services, sender = self.world.services, self.world.sender
        match message.topic:
            case "chunks":
                position = Position("chunks", 0, 0)
                await persist(message.value, position, chunks=services.chunks, deliveries=services.deliveries, sender=sender)
            case "progress":
                await services.fold.fold(message.value, table=self.table)
            case "readiness":
                await fan_out(message.value, work=services.work, sender=sender, at_once=services.at_once)
            case "work":
                await work_on(message.value, work=services.work, sender=sender, judge=services.judge)
        return self.world.unread()

    def lose(self, table: Table) -> None:
        """Go on as a worker that took over with this table."""
        self.table = table
        self.world.services.fold.forget()

    def outbound(self) -> list[bytes]:
        return sorted(one.value for one in self.world.outbound())


async def undisturbed() -> list[bytes]:
    journey = Journey()
    waiting = await journey.begin()
    while waiting:
        waiting += await journey.give(waiting.pop(0))
    return journey.outbound()


@pytest.mark.parametrize("seed", range(12))
async def test_a_table_that_fell_back_to_an_older_state_holds_nothing_up(seed: int) -> None:
    chosen = random.Random(seed)
    journey = Journey()
    kept: list[Table] = [{}]
    waiting = await journey.begin()
    while waiting:
        waiting += await journey.give(waiting.pop(chosen.randrange(len(waiting))))
        kept.append(deepcopy(journey.table))
        if chosen.random() < 0.2:
            journey.lose(deepcopy(chosen.choice(kept)))
    assert journey.outbound() == await undisturbed() != []
    assert journey.world.dead_letters.kept == {}


async def test_a_table_that_is_lost_before_the_last_fact_of_each_kind_holds_nothing_up() -> None:
    journey = Journey()
    waiting = await journey.begin()
    while waiting:
        journey.lose({})
        waiting += await journey.give(waiting.pop(0))
    assert journey.outbound() == await undisturbed()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_finished_set_leaves_nothing_in_the_table(at_once: bool) -> None:
    journey = Journey()
    waiting = await journey.begin()
    while waiting:
        sent = await journey.give(waiting.pop(0))
        waiting = [*sent, *waiting] if at_once else [*waiting, *sent]
    assert journey.outbound() == await undisturbed()
    assert journey.table == {}


async def test_a_worker_that_ends_between_completing_and_deciding_leaves_the_set_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journey = Journey()
    waiting = await journey.begin()
    interrupted = 0
    while waiting:
        message = waiting.pop(0)
        if message.topic == "progress":
            with monkeypatch.context() as down:
                down.setattr(journey.world.services.sets, "locked", _unavailable)
                try:
                    waiting += await journey.give(message)
                except Unavailable:
                    interrupted += 1
            journey.lose({})
        waiting += await journey.give(message)
    assert interrupted > 0
    assert journey.outbound() == await undisturbed()


async def test_what_an_older_table_knew_does_not_outlive_the_set() -> None:
    journey = Journey()
    older: Table = {}
    waiting = sorted(await journey.begin(), key=lambda one: one.topic != "progress")
    while waiting:
        message = waiting.pop(0)
        if message.topic == "progress" and b"outbound" in message.value:
            journey.lose(deepcopy(older))
        waiting += await journey.give(message)
        # Facts first: the last ones are those of outbound batches.
        waiting.sort(key=lambda one: one.topic != "progress")
        older = older or deepcopy(journey.table)
    assert older != {}
    assert journey.outbound() == await undisturbed()
    assert journey.table == {}


def decisions(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> list[SetKey]:
    """The sets that are decided about from now on, one by one."""
    locked = journey.world.services.sets.locked
    decided: list[SetKey] = []

    def counted(key: SetKey, *, reads_rows: bool = False) -> AbstractAsyncContextManager[LockedSet]:
        decided.append(key)
        return locked(key, reads_rows=reads_rows)

    monkeypatch.setattr(journey.world.services.sets, "locked", counted)
    return decided


async def test_a_set_is_decided_about_when_something_ended_and_not_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey()
    decided = decisions(journey, monkeypatch)
    waiting = await journey.begin()
    while waiting:
        waiting += await journey.give(waiting.pop(0))
    assert journey.outbound() == await undisturbed()
    assert len(decided) == FILE_COUNT + len(all_rules())


@pytest.mark.parametrize("seed", range(6))
async def test_facts_that_come_twice_and_late_change_nothing(seed: int) -> None:
    chosen = random.Random(seed)
    journey = Journey()
    waiting = await journey.begin()
    while waiting:
        message = waiting.pop(chosen.randrange(len(waiting)))
        waiting += await journey.give(message)
        if message.topic == "progress" and chosen.random() < 0.3:
            waiting.append(message)
        if chosen.random() < 0.1:
            journey.lose({})
    assert journey.outbound() == await undisturbed()
    assert journey.table == {}


def sealing_first(message: Sent) -> bool:
    return message.topic != "progress"


def sealing_last(message: Sent) -> bool:
    return message.topic == "progress" and b"delivery_sealed" in message.value


@pytest.mark.parametrize("small_records", [0, 1000], ids=["by messages", "at once"])
@pytest.mark.parametrize("order", [sealing_first, sealing_last])
async def test_the_ledger_is_read_at_most_once_for_each_file_whether_it_is_told_first_that_it_was_sealed_or_last(
    monkeypatch: pytest.MonkeyPatch, order: Callable[[Sent], bool], small_records: int
) -> None:
    journey = Journey(World(chunk_bytes=30, small_records=small_records))
    decided = decisions(journey, monkeypatch)
    progress = journey.world.services.sets.progress
    reads: list[SetKey] = []

    async def counted(key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        reads.append(key)
        return await progress(key, rules=rules)

    monkeypatch.setattr(journey.world.services.sets, "progress", counted)
    waiting = await journey.begin()
    while waiting:
        waiting.sort(key=order)
        waiting += await journey.give(waiting.pop(0))
    assert journey.outbound() == await undisturbed()
    assert 0 < len(reads) <= FILE_COUNT
    assert len(decided) == FILE_COUNT + len(all_rules())


async def test_a_delivery_that_is_rejected_while_it_is_judged_is_decided_about(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey()
    waiting = await journey.begin()
    while not any(message.topic == "work" for message in waiting):
        waiting += await journey.give(waiting.pop(0))
    fact = next(decode_work(message.value) for message in waiting if message.topic == "work")
    assert isinstance(fact, Judgement)
    await journey.world.services.deliveries.reject(fact.delivery_id, Rejected("two contents", rule="chunk_conflict"))
    decided = decisions(journey, monkeypatch)
    about = {name: getattr(fact, name) for name in ("tenant", "business_date", "delivery_id", "entity")}
    await journey.world.services.fold.fold(DeliveryRemoved(**about, state="rejected").encode(), table=journey.table)
    assert decided == [SetKey(fact.tenant, fact.business_date)]


def _unavailable(_: SetKey) -> AbstractAsyncContextManager[LockedSet]:
    raise Unavailable("PostgreSQL")
