"""Replays on fakes: planned, sent, interrupted, read from the bucket; and past sets computed again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import orjson
import polars as pl
import pytest

from dataharvest import pipeline, transformers
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_log import MemoryLog, MemoryReplays
from dataharvest.adapters.memory_recompute import MemoryComputedSets
from dataharvest.adapters.memory_replay_ledger import MemoryReplayLedger
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.outbound import all_outbound
from dataharvest.quarantine import Signature
from dataharvest.replaying.choosing import choose, choose_from_s3
from dataharvest.replaying.effects import Effects
from dataharvest.replaying.foretelling import BucketUploads, foretell, foretell_from_s3
from dataharvest.replaying.pace import Courtesy, Pace
from dataharvest.replaying.recompute import ComputedSet, compute_again, reason_to_leave
from dataharvest.replaying.recompute import foretell as foretell_values
from dataharvest.replaying.requests import Part, Replay, Request
from dataharvest.replaying.run import Runner
from dataharvest.replaying.sources import BucketSource, Source, TopicSource
from dataharvest.replaying.subjects import Wanted
from tests.agents.worlds import BUCKET, Agents, World, example_files, s3_event
from tests.contract.ledgers import DAY

KEY = SetKey("acme", DAY)


class Site:
    """A world whose topics are written down, so that they can be read again."""

    def __init__(self) -> None:
        self.world = World()
        self.known = MemoryReplayLedger(self.world.ledger, chunk_bytes=self.world.chunk_bytes)
        self.replays = MemoryReplays()
        self.stop = asyncio.Event()
        services = self.world.services
        self.uploads = BucketUploads(BUCKET, services.objects, services.deliveries, services.manifests)

    def log(self) -> MemoryLog:
        """Everything sent so far."""
        log = MemoryLog({topic: [[]] for topic in pipeline.CONSUMED})
        for key in example_files():
            log.write("uploads", 0, key=None, value=s3_event(key))
        for one in self.world.sender.sent:
            if one.topic in pipeline.CONSUMED:
                log.write(one.topic, 0, key=one.key, value=one.value, headers=one.headers)
        return log

    async def source(self, request: Request, log: MemoryLog) -> tuple[list[Part], Source]:
        """Where the messages of a request come from."""
        choice = await choose(request, log=log, ledger=self.known)
        keys = await self.known.object_keys(request.tenant, request.business_date)
        return choice.parts, TopicSource(request.topic, log, Wanted(request, object_keys=keys, spans=choice.spans))

    async def plan(self, request: Request) -> Effects:
        """What a replay would do."""
        parts, source = await self.source(request, self.log())
        return await foretell(source, parts, ledger=self.known, uploads=self.uploads)

    async def replay(self, request: Request, source: tuple[list[Part], Source], *, after: int | None = None) -> Replay:
        """Send it, or stop after some messages."""
        begun = await self.replays.begin(request, source[0], by="anna")
        return await self.go_on(begun, source[1], after=after)

    async def go_on(self, begun: Replay, source: Source, *, after: int | None = None) -> Replay:
        """Go on with one."""
        self.stop.clear()
        runner = Runner(self.replays, self.world.sender, Pace(1e9, 1e12), Courtesy(Idle(), 0), self.stop, self._show)
        return await runner.run(begun, Stopping(source, self.stop, after))

    def _show(self, *, passed: int, total: int, sent_count: int, sent_bytes: int) -> None:
        assert 0 <= passed <= total


class Idle:
    """Workers that have nothing before them, or as much as a list says, look by look."""

    def __init__(self, *counts: int) -> None:
        self.counts = list(counts)

    async def count(self) -> int:
        return self.counts.pop(0) if self.counts else 0


class Stopping:
    """A source during which somebody presses Ctrl-C."""

    def __init__(self, source: Source, stop: asyncio.Event, after: int | None) -> None:
        self._source, self._stop, self._after = source, stop, after

    async def items(self, parts: Sequence[Part]) -> AsyncIterator[Any]:
        count = 0
        async for one in self._source.items(parts):
            if count == self._after:
                self._stop.set()
            count += 1
            yield one


def snapshot(ledger: MemoryLedger) -> Any:
    """Everything in the ledger but where its chunks came from."""
    return deepcopy((ledger.deliveries, ledger.versions, ledger.manifests, ledger.editions))


async def published(site: Site, agents: Agents) -> None:
    await agents.upload(example_files())
    await agents.run()
    assert len(site.world.outbound()) == 8


@pytest.mark.parametrize("topic", pipeline.CONSUMED)
async def test_a_whole_topic_once_more_changes_nothing_as_its_plan_says(topic: str) -> None:
    site, request = Site(), Request(topic=topic, from_offset=0)
    async with site.world.agents() as agents:
        await published(site, agents)
        before = snapshot(site.world.ledger)
        effects = await site.plan(request)
        assert (effects.acts, effects.copy_count, effects.unreadable_count) == (False, 0, 0)
        assert effects.message_count > 0
        assert effects.sets == {KEY}
        moved = await site.replay(request, await site.source(request, site.log()))
        assert (moved.left, moved.sent_count) == (0, effects.message_count)
        for one in site.world.unread():
            await agents.give(one.topic, one.value, key=one.key)
        await agents.run()
    assert snapshot(site.world.ledger) == before
    assert len(site.world.outbound()) == 8


async def test_a_second_replay_leaves_the_first_ones_copies_out() -> None:
    site, request = Site(), Request(topic="chunks", from_offset=0)
    async with site.world.agents() as agents:
        await published(site, agents)
        first = await site.replay(request, await site.source(request, site.log()))
        effects = await site.plan(request)
        second = await site.replay(request, await site.source(request, site.log()))
    assert effects.copy_count == first.sent_count
    assert second.sent_count == first.sent_count


async def test_an_interrupted_replay_goes_on_where_it_was() -> None:
    site, request = Site(), Request(topic="chunks", tenant="acme", business_date=DAY)
    async with site.world.agents() as agents:
        await published(site, agents)
        chosen = await site.source(request, site.log())
        sent_before = len(site.world.sender.sent)
        first = await site.replay(request, chosen, after=3)
        assert (first.sent_count, first.left > 0) == (3, True)
        stored = await site.replays.find(first.replay_id)
        assert stored == first
        done = await site.go_on(first, chosen[1])
    copies = site.world.sender.sent[sent_before:]
    sources = Counter(dict(one.headers)["replayed_from"] for one in copies)
    assert set(sources.values()) == {1}
    assert (done.left, done.sent_count) == (0, len(copies))


async def test_a_plan_tells_of_chunks_that_would_be_stored() -> None:
    site = Site()
    async with site.world.agents() as agents:
        for key, content in example_files().items():
            await site.world.objects.put(BUCKET, key, content)
            await agents.give("uploads", s3_event(key))
        await site.world.split_everything()
        effects = await site.plan(Request(topic="chunks", from_offset=0))
    assert effects.acting == {"chunks are not in the ledger and would be stored": effects.message_count}
    assert effects.acting_sets == {KEY}


async def test_a_plan_tells_of_objects_that_nobody_registered() -> None:
    site = Site()
    for key, content in example_files().items():
        await site.world.objects.put(BUCKET, key, content)
    effects = await site.plan(Request(topic="uploads", from_offset=0))
    assert effects.new_keys == set(example_files())
    assert effects.acting == {"objects would be registered": 4}


def bucket_source(site: Site, indexes: dict[int, Collection[int]]) -> BucketSource:
    services = site.world.services
    return BucketSource(services.objects, services.deliveries, services.contracts, site.known, indexes)


async def test_chunks_read_from_the_bucket_are_those_that_were_sent_first() -> None:
    site, request = Site(), Request(topic="chunks", tenant="acme", from_s3=True)
    async with site.world.agents() as agents:
        await published(site, agents)
        before = snapshot(site.world.ledger)
        originals = {one.key: one.value for one in site.world.sender.sent if one.topic == "chunks"}
        sent_before = len(site.world.sender.sent)
        chunks = await choose_from_s3(request, log=site.log(), ledger=site.known)
        effects = await foretell_from_s3(chunks, ledger=site.known)
        assert (effects.acts, effects.message_count, effects.sets) == (False, len(originals), {KEY})
        source = bucket_source(site, {number: one.indexes for number, one in chunks.items()})
        parts = [Part(number, 0, one.indexes[-1] + 1, 0) for number, one in chunks.items()]
        done = await site.replay(request, (parts, source))
        copies = {one.key: one.value for one in site.world.sender.sent[sent_before:]}
        await agents.run()
    assert copies == originals
    assert (done.left, source.troubles) == (0, [])
    assert snapshot(site.world.ledger) == before


async def test_only_the_wanted_chunks_are_read_from_the_bucket() -> None:
    site, request = Site(), Request(topic="chunks", tenant="acme", from_s3=True)
    async with site.world.agents() as agents:
        await published(site, agents)
        [number] = [one for one, row in site.world.ledger.deliveries.items() if row.entity == "transactions"]
        source = bucket_source(site, {number: {1, 3}})
        sent_before = len(site.world.sender.sent)
        await site.replay(request, ([Part(number, 1, 4, 1)], source))
    assert [one.key for one in site.world.sender.sent[sent_before:]] == [f"{number}:1".encode(), f"{number}:3".encode()]


async def test_an_object_with_other_bytes_is_a_trouble_and_the_others_go_on() -> None:
    site, request = Site(), Request(topic="chunks", tenant="acme", from_s3=True)
    async with site.world.agents() as agents:
        await published(site, agents)
        first, second = sorted(site.world.ledger.deliveries)[:2]
        other = site.world.ledger.deliveries[first].chunks[0]
        changed = other[0].model_copy(update={"sha256": "0" * 64})
        site.world.ledger.deliveries[first].chunks[0] = (changed, other[1])
        source = bucket_source(site, {first: {0}, second: {0}})
        done = await site.replay(request, ([Part(first, 0, 1, 0), Part(second, 0, 1, 0)], source))
    assert [one.left for one in done.parts] == [1, 0]
    assert [one.startswith(f"delivery {first} can't be read again: ") for one in source.troubles] == [True]


class Clock:
    """Time that passes only when somebody waits."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_pace_lets_through_what_the_stricter_limit_allows() -> None:
    clock, stop = Clock(), asyncio.Event()
    pace = Pace(messages_per_s=10, bytes_per_s=1000, clock=clock)
    waits = []
    for byte_count in (1, 1, 500, 1):
        stop.set()
        await pace.wait(byte_count, unless=stop)
        waits.append(round(pace._free_at - clock.now, 3))
        clock.now = pace._free_at
    assert waits == [0.1, 0.1, 0.5, 0.1]


async def test_a_replay_waits_while_the_workers_have_too_much_before_them() -> None:
    busy, stop = Idle(9, 6, 5, 99), asyncio.Event()
    await Courtesy(busy, limit=5, look_each_s=0).wait(unless=stop)
    assert busy.counts == [99]


async def test_whoever_interrupts_a_replay_does_not_wait_for_the_workers() -> None:
    busy, stop = Idle(9, 9), asyncio.Event()
    stop.set()
    await Courtesy(busy, limit=5).wait(unless=stop)
    assert busy.counts == [9, 9]


# Recomputing


def corrected(logic_version: int, *, factor: int = 1) -> transformers.Transformer:
    """The sum of deposits as another version of the logic, which may be wrong for one account."""
    real = transformers.all_transformers()["sum_of_deposits"]

    def compute(portfolios: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
        amount = pl.when(pl.col("account_number") == "12345678").then(pl.col("amount") * factor).otherwise(pl.col("amount"))
        return real.compute(portfolios=portfolios, transactions=transactions.with_columns(amount.cast(transformers.AMOUNT)))

    return replace(real, compute=compute, logic_version=logic_version)


ANNA = Signature(who="anna", why="fees were taken for deposits")


async def computed(site: Site) -> ComputedSet:
    [one] = await MemoryComputedSets(site.world.ledger).find("sum_of_deposits", tenant="acme", day=DAY)
    return one


async def test_a_forecast_names_exactly_the_values_that_would_change() -> None:
    site = Site()
    async with site.world.agents() as agents:
        await published(site, agents)
        one = await computed(site)
        assert (one.version, one.state, one.logic_versions) == (1, "published", (1,))
        outbound, before = all_outbound().values(), snapshot(site.world.ledger)
        same = await foretell_values(one, transformer=corrected(2), outbound=outbound, work=site.world.services.work)
        other = await foretell_values(one, transformer=corrected(2, factor=2), outbound=outbound, work=site.world.services.work)
    assert (same.value_count, same.changed, dict(same.messages)) == (5, (), {"outbound.portfolios": 0})
    assert (other.value_count, len(other.changed)) == (5, other.messages["outbound.portfolios"])
    assert 0 < len(other.changed) < 5
    assert snapshot(site.world.ledger) == before


async def test_only_what_another_logic_computes_differently_is_published_again(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    async with site.world.agents() as agents:
        await published(site, agents)
        new = corrected(2, factor=2)
        one = await computed(site)
        forecast = await foretell_values(one, transformer=new, outbound=all_outbound().values(), work=site.world.services.work)
        monkeypatch.setitem(transformers.all_transformers(), "sum_of_deposits", new)
        await compute_again(one, transformer=new, by=ANNA, sets=site.world.services.sets, sender=site.world.sender)
        await agents.run()
        again = await computed(site)
        fresh = [orjson.loads(sent.value) for sent in site.world.outbound()[8:]]
        assert {sent["portfolio_reference"] for sent in fresh} == set(forecast.changed)
        assert {(sent["version"], sent["supersedes"] is None) for sent in fresh} == {(2, False)}
        assert (again.version, again.logic_versions) == (2, (2,))
        assert reason_to_leave(again, transformer=new, even_if_same=False) is not None
        [line] = await MemoryComputedSets(site.world.ledger).history(None, tenant="acme", day=DAY, limit=5)
        assert (line.transformer, line.logic_version, line.version, line.by) == ("sum_of_deposits", 2, 2, ANNA)
        with pytest.raises(Rejected) as refused:
            await compute_again(one, transformer=new, by=ANNA, sets=site.world.services.sets, sender=site.world.sender)
    assert refused.value.rule == "set_changed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "computed by version 2 of the logic already"),
        ({"logic_versions": (1,)}, None),
        ({"logic_versions": (1, 2)}, None),
        ({"logic_versions": ()}, "computed by version 2 of the logic already"),
        ({"logic_versions": (), "batch_count": 0}, None),
        ({"logic_versions": (), "state": "open"}, "version 3 is being computed now"),
        ({"logic_versions": (1,), "state": "open"}, None),
        ({"logic_versions": (1,), "is_due": True}, "a new version is about to be made already"),
        ({"logic_versions": (1,), "state": "blocked"}, "version 3 is blocked; its next one is computed by the new logic anyway"),
        (
            {"logic_versions": (1,), "state": "cancelled"},
            "version 3 was cancelled; its next one is computed by the new logic anyway",
        ),
    ],
)
def test_a_set_is_left_as_it_is_for_a_reason(change: dict[str, Any], reason: str | None) -> None:
    one = ComputedSet(KEY, 3, "published", False, (2,), 1)._replace(**change)
    assert reason_to_leave(one, transformer=corrected(2), even_if_same=False) == reason
