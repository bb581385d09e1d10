"""What is small is done and decided in one transaction of its set: all of it is kept or nothing, and nobody waits for ever."""

import asyncio

import polars as pl
import pytest

from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.postgres.sets import LockedSet
from dataharvest.deliveries import SetKey
from dataharvest.errors import Unavailable
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import Sets
from dataharvest.rulebook import RELATIONSHIP
from dataharvest.stages.do_at_once import DoAtOnce
from tests.contract.ledgers import ACCOUNTS, DAY, FILES, Ledger, decisions_of, someone_waits
from tests.contract.test_small import sealed

KEY = SetKey("acme", DAY)
TAX = Batch(tenant="acme", business_date=DAY, version=1, rule="tax", batch=0, batch_count=1)
RELATING = TAX.model_copy(update={"rule": RELATIONSHIP})
CLIENT = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f"
VALUES = pl.DataFrame({"reference": [CLIENT], "fields": ['{"taxes_paid":"1.00"}']})


async def planned(ledger: Ledger, batch: Batch) -> None:
    await ledger.version("acme", files=FILES)
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule=batch.rule)
    assert await ledger.work.plan(ready, batch_count=1, is_held=True)


async def facts(sets: Sets) -> frozenset[str]:
    async with sets.locked(KEY) as locked:
        return (await locked.view()).versions[0].facts


async def test_what_a_batch_made_and_what_was_decided_is_kept_together(ledger: Ledger) -> None:
    await planned(ledger, TAX)
    async with ledger.sets.locked(KEY, reads_rows=True) as locked:
        async with ledger.work.open_batch(TAX, within=locked) as batch:
            assert batch is not None
            await batch.store_values(VALUES, transformer="tax", logic_version=1)
            await batch.mark_computed(is_done=True, provides="tax")
        assert "tax" in (await locked.view()).versions[0].facts
    assert await ledger.work.is_done(TAX)
    assert "tax" in await facts(ledger.sets)


async def test_of_a_batch_whose_decision_failed_nothing_is_kept(ledger: Ledger) -> None:
    await planned(ledger, TAX)
    with pytest.raises(Unavailable):
        async with ledger.sets.locked(KEY, reads_rows=True) as locked:
            async with ledger.work.open_batch(TAX, within=locked) as batch:
                assert batch is not None
                await batch.store_values(VALUES, transformer="tax", logic_version=1)
                await batch.mark_computed(is_done=True, provides="tax")
            raise Unavailable("PostgreSQL")
    assert not await ledger.work.is_done(TAX)
    assert "tax" not in await facts(ledger.sets)
    async with ledger.work.open_batch(TAX) as batch:
        assert batch is not None and not batch.opened.computed


async def test_a_mark_whose_decision_failed_is_none(ledger: Ledger) -> None:
    await planned(ledger, TAX)
    async with ledger.work.open_batch(TAX) as batch:
        assert batch is not None
        await batch.mark_computed()
        opened = batch.opened
    with pytest.raises(Unavailable):
        async with ledger.sets.locked(KEY) as locked:
            await ledger.work.mark_done(opened, TAX, provides="tax", within=locked)
            raise Unavailable("PostgreSQL")
    assert not await ledger.work.is_done(TAX)
    assert "tax" not in await facts(ledger.sets)
    async with ledger.sets.locked(KEY) as locked:
        await ledger.work.mark_done(opened, TAX, provides="tax", within=locked)
    assert await ledger.work.is_done(TAX)
    assert "tax" in await facts(ledger.sets)


async def test_the_fact_of_a_rule_holds_once_its_only_batch_is_done_and_not_while_others_are_left(ledger: Ledger) -> None:
    await ledger.version("acme", files=FILES)
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
    assert await ledger.work.plan(ready, batch_count=2)
    first = TAX.model_copy(update={"batch_count": 2})
    async with ledger.work.open_batch(first) as batch:
        assert batch is not None
        await batch.mark_computed(is_done=True, provides="tax")
        opened = batch.opened
    await ledger.work.mark_done(opened, first, provides="tax")
    assert "tax" not in await facts(ledger.sets)


async def test_of_a_judgement_whose_decision_failed_nothing_is_kept(real_ledger: Ledger) -> None:
    lease = await sealed(real_ledger)
    assert await real_ledger.judgements.begin(lease.delivery_id) == "judging"
    with pytest.raises(Unavailable):
        async with real_ledger.sets.locked(KEY, reads_rows=True) as locked:
            async with real_ledger.judgements.open(lease.delivery_id, within=locked) as judgement:
                assert judgement is not None and not await judgement.weigh()
                assert await judgement.complete() == "complete"
            assert {one.state for one in (await locked.view()).deliveries} == {"complete"}
            raise Unavailable("PostgreSQL")
    assert await real_ledger.state_of(lease.delivery_id) == "judging"


async def test_after_a_judgement_a_decision_is_planned_as_ever(real_ledger: Ledger) -> None:
    lease = await sealed(real_ledger)
    assert await real_ledger.judgements.begin(lease.delivery_id) == "judging"
    async with real_ledger.sets.locked(KEY) as locked:
        async with real_ledger.judgements.open(lease.delivery_id, within=locked) as judgement:
            assert judgement is not None and not await judgement.weigh()
            await judgement.complete()
        assert await settings(locked) == ["force_generic_plan", "on"]


async def test_after_a_batch_a_decision_is_planned_as_ever(real_ledger: Ledger) -> None:
    await planned(real_ledger, TAX)
    async with real_ledger.sets.locked(KEY) as locked:
        assert await settings(locked) == ["auto", "on"]
        async with real_ledger.work.open_batch(TAX, within=locked) as batch:
            assert batch is not None
            assert await settings(locked) == ["auto", "off"]
            await batch.mark_computed(is_done=True, provides="tax")
        assert await settings(locked) == ["force_generic_plan", "on"]


async def settings(locked: object) -> list[str]:
    assert isinstance(locked, LockedSet)
    names = ("plan_cache_mode", "enable_nestloop")
    return [await locked.connection.fetchval("SELECT current_setting($1)", name) for name in names]


async def test_a_correction_that_is_decided_about_while_a_batch_is_done_waits_for_it_and_neither_ends(
    real_ledger: Ledger,
) -> None:
    await planned(real_ledger, RELATING)
    assert real_ledger.database is not None
    newer = await real_ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n", age_s=-10)
    async with (
        real_ledger.sets.locked(KEY, reads_rows=True) as locked,
        real_ledger.work.open_batch(RELATING, within=locked) as batch,
    ):
        assert batch is not None
        deciding = asyncio.create_task(decisions_of(real_ledger).decide(KEY))
        await someone_waits(real_ledger.database)
        await batch.relate()
        await batch.mark_computed(is_done=True, provides="relation_established")
    await deciding
    async with real_ledger.sets.locked(KEY) as locked:
        first, second = (await locked.view()).versions
    assert (first.state, second.state) == ("cancelled", "open")
    assert second.deliveries["accounts"] == newer


async def test_two_that_do_a_batch_and_its_decision_at_once_do_it_once(real_ledger: Ledger) -> None:
    await planned(real_ledger, RELATING)
    sender = MemorySender()
    at_once = DoAtOnce(
        work=real_ledger.work,
        sender=sender,
        decisions=decisions_of(real_ledger, sender),
        most_records=1000,
    )
    assert await asyncio.gather(*(at_once.do(RELATING) for _ in range(2))) == [True, True]
    assert "relation_established" in await facts(real_ledger.sets)
    assert sorted({one.topic for one in sender.sent}) == ["readiness"]
    assert await real_ledger.sets.unsent_readiness(KEY) == []
