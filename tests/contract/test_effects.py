"""The sweep on PostgreSQL: an effect that was committed and never sent is sent once, and another sweep sends nothing more."""

import pytest

from dataharvest.adapters.memory_kafka import MemorySender, Sent
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_sweeping import MemoryConsumption
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.adapters.postgres.tenants import PostgresTenants
from dataharvest.deliveries import Lease, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import Position
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.notifying import ready_note
from dataharvest.rules.outbound_messages import Envelope, changed_messages
from dataharvest.stages.decide import Decisions
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.split import Splitter
from dataharvest.stages.sweep import full_sweep
from dataharvest.stages.sweep_deliveries import SweptDeliveries
from dataharvest.stages.sweep_effects import SweptSets
from dataharvest.stages.window import Limits
from dataharvest.stages.work import work_on
from tests.contract.ledgers import ACCOUNTS, DAY, POSITION, Ledger, chunks_of, judge_of, sealing_of, source_of
from tests.contract.test_sweeping import make_old

KEY = SetKey("acme", DAY)
BUCKET = "contract"
READY = RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP)
CLIENT = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f"


class Site:
    """A sweep over a ledger in PostgreSQL, with a sender that remembers."""

    def __init__(self, ledger: Ledger) -> None:
        assert ledger.database is not None
        self.ledger = ledger
        self.sender = MemorySender()
        self.objects = MemoryObjectStore(versioned=True)
        self.consumption = MemoryConsumption()
        contracts, state = PostgresContracts(ledger.database), PostgresSweepState(ledger.database)
        shared = {"sender": self.sender, "state": state, "consumption": self.consumption}
        decisions = Decisions(
            sets=ledger.sets,
            removals=ledger.removals,
            sender=self.sender,
            rules=all_rules(),
            settle_s=0,
        )
        splitter = Splitter(
            objects=self.objects,
            deliveries=ledger.deliveries,
            contracts=contracts,
            sender=self.sender,
            tenants=PostgresTenants(ledger.database),
            limits=Limits(chunk_count=32),
            max_content_bytes=1 << 20,
            lease_s=30,
        )
        deliveries = SweptDeliveries(
            bucket=BUCKET,
            objects=self.objects,
            deliveries=ledger.deliveries,
            manifests=ManifestRegister(self.objects, ledger.manifests, self.sender),
            contracts=contracts,
            splitter=splitter,
            **shared,  # type: ignore[arg-type]
        )
        sets = SweptSets(
            sets=ledger.sets,
            work=ledger.work,
            judgements=ledger.judgements,
            removals=ledger.removals,
            notifications=ledger.notifications,
            decisions=decisions,
            rules=all_rules(),
            **shared,  # type: ignore[arg-type]
        )
        self.sweep = full_sweep(deliveries, sets, state=state)

    async def swept_once(self) -> dict[str, int]:
        """What a sweep an hour later finds; the one after it finds and sends nothing, for all was just sent."""
        await make_old(self.ledger)
        found = await self.look()
        sent = list(self.sender.sent)
        # What has just been sent nobody has read yet.
        self.consumption.everything_was_read = False
        assert await self.look() == {}
        self.consumption.everything_was_read = True
        assert self.sender.sent == sent
        return found

    async def look(self) -> dict[str, int]:
        """What a sweep finds now."""
        return {kind: count for kind, count in (await self.sweep.once()).items() if count}

    def topics(self) -> list[str]:
        """Where something was sent, in order."""
        return [one.topic for one in self.sender.sent]

    async def upload(self, content: bytes) -> Lease:
        """An object whose delivery is leased."""
        key = "acme/accounts_20261123.csv"
        await self.objects.put(BUCKET, key, content)
        source = await self.objects.head(BUCKET, key)
        assert source is not None
        named = ObjectName(tenant="acme", business_date=DAY, kind="data", entity="accounts", compression=None)
        await self.ledger.deliveries.register(source, named)
        lease = await self.ledger.deliveries.lease()
        assert lease is not None
        return lease

    async def seal(self, lease: Lease) -> None:
        assert await self.ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))


@pytest.fixture
def site(real_ledger: Ledger) -> Site:
    return Site(real_ledger)


def of(rule: str, *, index: int = 0, count: int = 1) -> Batch:
    return Batch(tenant="acme", business_date=DAY, version=1, rule=rule, batch=index, batch_count=count)


async def test_a_delivery_of_which_no_splitter_was_told_wakes_one(site: Site) -> None:
    await site.ledger.register("acme")
    assert await site.look() == {}
    await make_old(site.ledger)
    async with site.ledger.deliveries.wake_ups() as woken:
        assert await site.look() == {"deliveries nobody reads": 1}
        await woken.wait()
    assert await site.ledger.deliveries.lease() is not None
    await site.ledger.register("zen")
    await make_old(site.ledger)
    assert await site.look() == {}


async def test_a_paused_tenants_deliveries_wake_nobody(site: Site) -> None:
    assert site.ledger.database is not None
    await site.ledger.register("acme")
    await PostgresTenants(site.ledger.database).pause("acme", reason="")
    await make_old(site.ledger)
    assert await site.look() == {}


async def test_a_sealing_that_was_not_announced_is_announced_once(site: Site) -> None:
    lease = await site.ledger.lease("acme")
    await site.ledger.store(lease, ACCOUNTS)
    await site.seal(lease)
    assert await site.swept_once() == {"unsent announcements": 1}
    assert site.topics() == ["progress"]


async def test_a_delivery_whose_facts_got_lost_is_announced_again_once(site: Site) -> None:
    lease = await site.ledger.lease("acme")
    await site.ledger.store(lease, ACCOUNTS)
    await site.seal(lease)
    await site.ledger.deliveries.mark_announced(lease.delivery_id)
    assert await site.swept_once() == {"deliveries to be concluded": 1}
    assert site.topics() == ["progress"]


async def test_an_end_that_was_not_announced_is_announced_once(site: Site) -> None:
    lease = await site.ledger.lease("acme")
    await site.ledger.deliveries.reject(lease.delivery_id, Rejected("no", rule="no"))
    # It is told to the tenant, too.
    assert await site.swept_once() == {"unsent announcements": 1, "unsent notifications": 1}
    assert sorted(site.topics()) == ["notifications", "progress"]


async def begun(site: Site) -> int:
    lease = await site.ledger.lease("acme")
    await site.ledger.store(lease, ACCOUNTS)
    await site.seal(lease)
    await site.ledger.deliveries.mark_announced(lease.delivery_id)
    assert await site.ledger.judgements.begin(lease.delivery_id) == "judging"
    return lease.delivery_id


@pytest.mark.parametrize("is_marked", [False, True], ids=["never sent", "lost"])
async def test_a_judgement_is_sent_once(site: Site, is_marked: bool) -> None:
    delivery_id = await begun(site)
    if is_marked:
        await site.ledger.judgements.mark_sent(delivery_id)
    assert await site.swept_once() == {"unsent judgements": 1}
    [sent] = site.sender.sent
    await work_on(sent.value, work=site.ledger.work, sender=site.sender, judge=judge_of(site.ledger, site.sender))
    assert await site.ledger.state_of(delivery_id) == "complete"
    await make_old(site.ledger)
    assert "unsent judgements" not in await site.look()


async def announced(site: Site) -> None:
    await site.ledger.version("acme")
    async with site.ledger.sets.locked(KEY) as locked:
        await locked.announce(1, all_rules()[RELATIONSHIP])
    for one in await site.ledger.deliveries.unannounced():
        await site.ledger.deliveries.mark_announced(one.delivery_id)


@pytest.mark.parametrize("is_marked", [False, True], ids=["never sent", "lost"])
async def test_readiness_is_sent_once(site: Site, is_marked: bool) -> None:
    await announced(site)
    if is_marked:
        await site.ledger.sets.mark_readiness_sent(KEY, [(1, RELATIONSHIP)])
    assert await site.swept_once() == {"unsent readiness": 1}
    assert site.sender.sent == [Sent("readiness", READY.key, READY.encode())]


async def planned(site: Site, *, count: int = 1) -> None:
    await announced(site)
    await site.ledger.sets.mark_readiness_sent(KEY, [(1, RELATIONSHIP)])
    await site.ledger.work.plan(READY, batch_count=count)


async def test_batches_that_were_never_sent_are_sent_once_and_no_more_than_may_be_under_way(site: Site) -> None:
    await planned(site, count=3)
    assert await site.swept_once() == {"unsent batches": 2}
    assert [one.value for one in site.sender.sent] == [of(RELATIONSHIP, index=index, count=3).encode() for index in (0, 1)]


async def test_a_batch_whose_message_got_lost_is_sent_once(site: Site) -> None:
    await planned(site)
    await site.ledger.work.mark_sent(of(RELATIONSHIP), Position("work", 0, 1))
    assert await site.swept_once() == {"batches without values": 1}
    assert [one.value for one in site.sender.sent] == [of(RELATIONSHIP).encode()]


async def test_a_batch_that_is_done_and_was_not_told_of_is_told_of_once(site: Site) -> None:
    await planned(site)
    await site.ledger.work.mark_sent(of(RELATIONSHIP), Position("work", 0, 1))
    async with site.ledger.work.open_batch(of(RELATIONSHIP)) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    found = await site.swept_once()
    assert found["rules to be concluded"] == 1
    assert site.topics().count("progress") == 1


async def test_outbound_messages_that_were_never_sent_go_out_once(site: Site) -> None:
    await announced(site)
    rule = "outbound.clients"
    await site.ledger.sets.mark_readiness_sent(KEY, [(1, RELATIONSHIP)])
    await site.ledger.work.plan(READY.model_copy(update={"rule": rule}), batch_count=1)
    await site.ledger.work.mark_sent(of(rule), Position("work", 0, 1))
    envelope = Envelope("acme", DAY, 1, "clients", "client_reference")
    async with site.ledger.work.open_batch(of(rule)) as locked:
        assert locked is not None
        await locked.store_outbound(list(changed_messages([{"reference": CLIENT}], last={}, envelope=envelope)), kind="clients")
        await locked.mark_computed()
    async with site.ledger.sets.locked(KEY) as version:
        await version.set_published(1)
    found = await site.swept_once()
    assert found["unsent outbound messages"] == 1
    again = [one for one in site.sender.sent if one.topic == "work"]
    assert [one.value for one in again] == [of(rule).encode()]
    for _ in range(2):
        await work_on(again[0].value, work=site.ledger.work, sender=site.sender, judge=judge_of(site.ledger, site.sender))
    assert site.topics().count(rule) == 1


async def test_rows_that_nobody_needs_are_removed_once(site: Site) -> None:
    first = await site.ledger.version("acme")
    corrected = await site.ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n", age_s=-1)
    async with site.ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, {**first, "accounts": corrected})
        await locked.set_published(2)
    for one in await site.ledger.deliveries.unannounced():
        await site.ledger.deliveries.mark_announced(one.delivery_id)
    assert await site.swept_once() == {"deliveries with rows to remove": 1}
    assert not await site.ledger.removals.remove(first["accounts"])


async def test_a_manifest_of_which_the_set_was_not_told_is_announced_once(site: Site) -> None:
    await site.ledger.manifests.insert(KEY, source_of("acme", "manifest"), Rejected("no", rule="no"))
    assert await site.swept_once() == {"untold manifests": 1}
    assert site.topics() == ["progress"]


async def test_a_notification_that_was_never_sent_is_sent_once(site: Site) -> None:
    async with site.ledger.sets.locked(KEY) as locked:
        await locked.notify(ready_note("acme", DAY, version=1))
    assert await site.swept_once() == {"unsent notifications": 1}
    assert site.topics() == ["notifications"]


async def test_chunks_that_got_lost_are_sent_once_and_no_other(site: Site) -> None:
    lease = await site.upload(ACCOUNTS)
    [(stored, checked), (lost, _)] = chunks_of(lease, ACCOUNTS)
    await site.ledger.chunks.persist(stored, checked, position=POSITION)
    await site.ledger.deliveries.note_sent(lease, {0: 1})
    await site.seal(lease)
    await site.ledger.deliveries.mark_announced(lease.delivery_id)
    assert await site.swept_once() == {"missing chunks": 1}
    assert [(one.topic, one.key) for one in site.sender.sent] == [("chunks", lost.key)]


async def test_an_upload_whose_event_got_lost_is_registered_once(site: Site) -> None:
    await site.objects.put(BUCKET, "acme/accounts_20261123.csv", ACCOUNTS)
    assert await site.swept_once() == {"objects without a delivery": 1}
