"""Fanning out and working on batches: what was done before is not done again, what does not count is left alone."""

from datetime import date

import pytest

from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_judgement import MemoryJudgements
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredVersion
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_work import MemoryWork
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady, decode_batch, decode_progress
from dataharvest.rulebook import RELATIONSHIP
from dataharvest.stages.fan_out import fan_out
from dataharvest.stages.judge import Judge
from dataharvest.stages.work import work_on

DAY = date(2026, 11, 23)


class Site:
    """A set version without records."""

    def __init__(self) -> None:
        self.version = StoredVersion(1, 1, {})
        ledger = MemoryLedger(versions={SetKey("acme", DAY): [self.version]})
        self.work = MemoryWork(ledger)
        self.sender = MemorySender()
        deliveries = MemoryDeliveries(ledger, chunk_bytes=60, lease_s=30)
        self.judge = Judge(MemoryJudgements(ledger), deliveries, MemoryObjectStore(versioned=True), self.sender)

    async def ready(self, rule: str, *, version: int = 1) -> list[Batch]:
        message = RuleReady(tenant="acme", business_date=DAY, version=version, rule=rule)
        await fan_out(message.encode(), work=self.work, sender=self.sender)
        return [decode_batch(one.value) for one in self.sender.sent]

    async def work_on(self, batch: Batch) -> None:
        await work_on(batch.encode(), work=self.work, sender=self.sender, judge=self.judge)


def batch_of(rule: str) -> Batch:
    return Batch(tenant="acme", business_date=DAY, version=1, rule=rule, batch=0, batch_count=1)


async def test_a_rule_that_is_ready_becomes_batches_that_are_sent_once() -> None:
    site = Site()
    for _ in range(2):
        assert await site.ready("tax") == [batch_of("tax")]


async def test_two_batches_of_a_tenant_are_under_way_and_the_next_follows_when_one_is_done() -> None:
    site = Site()
    await site.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax"), batch_count=4)
    await site.work.mark_sent(batch_of("tax").model_copy(update={"batch": 1, "batch_count": 4}))
    assert [(one.batch, one.batch_count) for one in await site.ready("tax")] == [(0, 4)]
    site.version.batches["tax"][0].is_computed = site.version.batches["tax"][0].is_done = True
    await site.work_on(batch_of("tax").model_copy(update={"batch_count": 4}))
    assert [decode_batch(one.value).batch for one in site.sender.sent if one.topic == "work"] == [0, 2]


@pytest.mark.parametrize("state", ["cancelled", "blocked", "published"])
async def test_a_version_that_does_not_count_becomes_no_batches(state: str) -> None:
    site = Site()
    site.version.state = state
    assert await site.ready("tax") == []
    assert await site.ready("tax", version=2) == []


async def test_a_rule_nobody_knows_is_rejected_by_both() -> None:
    site = Site()
    with pytest.raises(Rejected) as refused:
        await site.ready("astrology")
    assert refused.value.rule == "unknown_rule"
    with pytest.raises(Rejected) as refused:
        await site.work_on(batch_of("astrology"))
    assert refused.value.rule == "unknown_rule"


@pytest.mark.parametrize("rule", [RELATIONSHIP, "tax", "outbound.clients"])
@pytest.mark.parametrize("state", ["cancelled", "blocked"])
async def test_a_batch_that_does_not_count_is_not_worked_on_and_not_reported(rule: str, state: str) -> None:
    site = Site()
    await site.ready(rule)
    site.sender.sent.clear()
    site.version.state = state
    await site.work_on(batch_of(rule))
    assert site.sender.sent == []


@pytest.mark.parametrize("rule", [RELATIONSHIP, "tax"])
async def test_a_batch_that_was_done_is_only_reported_again(rule: str) -> None:
    site = Site()
    await site.ready(rule)
    site.sender.sent.clear()
    site.version.batches[rule][0].is_computed = True
    await site.work_on(batch_of(rule))
    [done] = [decode_progress(one.value) for one in site.sender.sent]
    assert done.type == "batch_done"
    assert (site.version.values, site.version.links) == ({}, [])
