"""Fairness: a chunk each in turn, few of a tenant under way, and nothing of a paused one."""

import asyncio
from collections import Counter

import pytest

from dataharvest.adapters.memory_chunks import MemoryChunks
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_tenants import MemoryTenants
from dataharvest.deliveries import ChunkOutcome, Lease
from dataharvest.entities import all_entities
from dataharvest.messages import decode_chunk
from dataharvest.ports import Position
from dataharvest.rules.keys import parse_object_key
from dataharvest.stages.fairness import TenantPaused, Turnstile
from dataharvest.stages.persist import check
from dataharvest.stages.split import Splitter
from dataharvest.stages.split_deliveries import SplitLoop
from dataharvest.stages.window import Limits, Window
from dataharvest.tenants import ChunkKey

HEADER = b"record_id,account_number,cash_balance,currency,taxes_paid\n"
CONTENT = HEADER + b"".join(b"%d,%04d,1.50,EUR,0\n" % (number, number) for number in range(30))
LIMIT = 3


class Site:
    """A bucket, a splitter, and workers that store when they are told to."""

    def __init__(self, *, concurrency: int = 12, chunks_in_flight: int = 1000, limits: Limits | None = None) -> None:
        self.objects = MemoryObjectStore(versioned=True)
        self.ledger = MemoryLedger()
        self.deliveries = MemoryDeliveries(self.ledger, chunk_bytes=40, lease_s=30)
        self.chunks = MemoryChunks(self.ledger)
        self.tenants = MemoryTenants(self.ledger)
        self.sender = MemorySender()
        self.stored = 0
        self.splitter = Splitter(
            objects=self.objects,
            deliveries=self.deliveries,
            contracts=MemoryContracts(),
            sender=self.sender,
            tenants=self.tenants,
            limits=limits or Limits(chunk_count=chunks_in_flight),
            max_content_bytes=1 << 16,
            lease_s=30,
        )
        self.loop = SplitLoop(
            splitter=self.splitter,
            deliveries=self.deliveries,
            sender=self.sender,
            concurrency=concurrency,
            stopping=self.is_finished,
        )

    def is_finished(self) -> bool:
        return all(row.state == "sealed" for row in self.ledger.deliveries.values())

    async def upload(self, key: str, content: bytes = CONTENT) -> None:
        await self.objects.put("uploads", key, content)
        source = await self.objects.head("uploads", key)
        assert source is not None
        await self.deliveries.register(source, parse_object_key(key, entities=all_entities()))

    async def upload_set(self, tenant: str, *, days: int) -> None:
        for day in range(1, days + 1):
            await self.upload(f"{tenant}/accounts_202611{day:02d}.csv")

    def sent(self) -> list[str]:
        """Tenants of the chunks sent, in order."""
        return [decode_chunk(one.value)[0].tenant for one in self.sender.sent if one.topic == "chunks"]

    def under_way(self) -> Counter[str]:
        return Counter(self.sent()[self.stored :])

    async def store(self, count: int) -> None:
        chunks = [one.value for one in self.sender.sent if one.topic == "chunks"]
        for value in chunks[self.stored : self.stored + count]:
            metadata, data = decode_chunk(value)
            stored = await self.chunks.persist(metadata, check(metadata, data), position=Position("chunks", 0, 0))
            assert stored is ChunkOutcome.STORED
            self.stored += 1


async def test_turns_go_from_tenant_to_tenant_however_many_one_has_waiting() -> None:
    turnstile, order = Turnstile(), list[str]()

    async def send(tenant: str) -> None:
        for _ in range(3):
            await turnstile.pass_through(tenant)
            order.append(tenant)

    await asyncio.gather(*map(send, ("huge", "huge", "huge", "small", "tiny")))
    assert order[:9] == ["huge", "small", "tiny"] * 3
    assert order[9:] == ["huge"] * 6


async def test_whoever_leaves_the_line_does_not_stop_it() -> None:
    turnstile = Turnstile()
    first, second = (asyncio.create_task(turnstile.pass_through(tenant)) for tenant in ("one", "other"))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(5):
        await second


async def test_a_splitter_sends_a_chunk_of_each_tenant_in_turn() -> None:
    site = Site()
    await site.upload_set("huge", days=3)
    await site.upload_set("small", days=1)
    async with asyncio.timeout(20):
        await site.loop.run()
    small = [place for place, tenant in enumerate(site.sent()) if tenant == "small"]
    assert len(small) > 10
    # From its first chunk on it has every second turn, not every fourth; one is missed when it waits for an acknowledgement.
    assert small[-1] - small[0] <= 2.5 * len(small)


async def test_few_chunks_of_a_tenant_are_under_way_across_its_deliveries() -> None:
    site = Site(chunks_in_flight=LIMIT)
    await site.upload_set("huge", days=3)
    await site.upload_set("small", days=1)
    splitting = asyncio.create_task(site.loop.run())
    most: Counter[str] = Counter()
    async with asyncio.timeout(30):
        while not splitting.done():
            await asyncio.sleep(0.001)
            most |= site.under_way()
            if (
                set(site.under_way().values()) == {LIMIT}
                or site.is_finished()
                or max(site.under_way().values(), default=0) == LIMIT
            ):
                await site.store(1)
    await splitting
    assert most == {"huge": LIMIT, "small": LIMIT}


async def sent_and_stayed(site: Site) -> int:
    """Chunks that were sent once the splitter has come to a standstill."""
    count = -1
    # Others are remembered for 0.5 s, and there are up to 0.25 s from one look to the next.
    async with asyncio.timeout(60):
        while count != len(site.sent()):
            count = len(site.sent())
            await asyncio.sleep(1.5)
    return count


async def test_chunks_under_way_hold_no_more_bytes_than_allowed() -> None:
    site = Site(limits=Limits(chunk_count=1000, byte_count=5 * 40))
    await site.upload("acme/accounts_20261101.csv")
    splitting = asyncio.create_task(site.loop.run())
    sent = await sent_and_stayed(site)
    lengths = [len(decode_chunk(one.value)[1]) for one in site.sender.sent if one.topic == "chunks"]
    assert sum(lengths) <= 200 < sum(lengths) + max(lengths)
    await site.store(1)
    assert await sent_and_stayed(site) == sent + 1
    splitting.cancel()
    await asyncio.gather(splitting, return_exceptions=True)


async def test_a_chunk_longer_than_allowed_is_sent_alone() -> None:
    site = Site(limits=Limits(chunk_count=1000, byte_count=1))
    await site.upload("acme/accounts_20261101.csv")
    splitting = asyncio.create_task(site.loop.run())
    for number in range(1, 4):
        assert await sent_and_stayed(site) == number
        await site.store(1)
    splitting.cancel()
    await asyncio.gather(splitting, return_exceptions=True)


@pytest.mark.parametrize(
    "limits", [Limits(chunk_count=8, bytes_beside_others=3 * 40), Limits(chunk_count=8, chunks_beside_others=3)]
)
async def test_less_is_under_way_while_others_have_sets_under_way(limits: Limits) -> None:
    site = Site(limits=limits)
    # However long the test takes, nothing grows old.
    site.ledger.clock = lambda: 1000.0
    await site.upload("huge/accounts_20261101.csv")
    splitting = asyncio.create_task(site.loop.run())
    assert await sent_and_stayed(site) == 8
    await site.upload("small/accounts_20261101.csv", HEADER + b"1,0001,1,EUR,0\n")
    async with asyncio.timeout(20):
        while "small" not in site.sent():
            await asyncio.sleep(0.001)
    await site.store(6)
    assert await sent_and_stayed(site) == 8 + 2
    assert site.under_way() == {"huge": 3, "small": 1}
    await site.store(1)
    assert await sent_and_stayed(site) == 8 + 3
    site.ledger.deliveries[2].state = "complete"
    assert await sent_and_stayed(site) == 8 + 3 + 5
    assert site.under_way() == {"huge": 8, "small": 1}
    splitting.cancel()
    await asyncio.gather(splitting, return_exceptions=True)


class SlowTenants(MemoryTenants):
    """Answers late whether others are there."""

    others = True
    answer_s = 0.0

    async def others_under_way(self, tenant: str) -> bool:
        await asyncio.sleep(self.answer_s)
        return self.others


@pytest.mark.parametrize(("others", "allowed"), [(True, 3), (False, 8)])
@pytest.mark.parametrize("answer_s", [0.0, 0.15, 0.7])
async def test_deliveries_of_a_tenant_keep_the_limit_together_while_an_answer_is_late(
    answer_s: float, others: bool, allowed: int
) -> None:
    tenants = SlowTenants(MemoryLedger())
    tenants.others, tenants.answer_s = others, answer_s
    window = Window("acme", tenants, limits=Limits(chunk_count=8, bytes_beside_others=30), under_way=())
    entered = list[int]()

    async def enter(delivery_id: int) -> None:
        for index in range(10):
            await window.enter(ChunkKey(delivery_id, index), 10, meanwhile=_nothing)
            entered.append(delivery_id)

    # Nothing lands: the ledger knows the deliveries and has none of their chunks.
    tenants.landed = _none_landed  # type: ignore[method-assign]
    entering = [asyncio.create_task(enter(number)) for number in range(4)]
    async with asyncio.timeout(30):
        while len(entered) < allowed:
            await asyncio.sleep(0.01)
    await asyncio.sleep(2.0)
    for task in entering:
        task.cancel()
    await asyncio.gather(*entering, return_exceptions=True)
    assert len(entered) == allowed


async def test_chunks_of_unknown_length_count_as_long_as_the_next_until_they_are_sent_again() -> None:
    found = [ChunkKey(1, index) for index in range(3)]
    window = Window("acme", MemoryTenants(MemoryLedger()), limits=Limits(chunk_count=8, byte_count=40), under_way=found)
    for chunk in found:
        await window.enter(chunk, 5, meanwhile=_nothing)
    async with asyncio.timeout(5):
        await window.enter(ChunkKey(2, 0), 25, meanwhile=_nothing)
    tenants = MemoryTenants(MemoryLedger())
    tenants.landed = _none_landed  # type: ignore[method-assign]
    late = Window("acme", tenants, limits=Limits(chunk_count=8, byte_count=40), under_way=found)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await late.enter(ChunkKey(2, 0), 11, meanwhile=_nothing)


async def _nothing() -> None:
    """Go on."""


async def _none_landed(sent: object) -> set[ChunkKey]:
    return set()


async def test_chunks_of_a_sealed_delivery_count_until_they_are_stored() -> None:
    site = Site(chunks_in_flight=LIMIT)
    await site.upload("acme/accounts_20261101.csv", HEADER + b"1,0001,1,EUR,0\n")
    await site.splitter.split(await leased(site))
    await site.upload("acme/accounts_20261102.csv")
    splitting = asyncio.create_task(site.splitter.split(await leased(site)))
    async with asyncio.timeout(20):
        while len(site.sent()) < LIMIT:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert len(site.sent()) == LIMIT
        await site.store(1)
        while len(site.sent()) < LIMIT + 1:
            await asyncio.sleep(0.001)
    splitting.cancel()
    await asyncio.gather(splitting, return_exceptions=True)


async def test_chunks_of_a_delivery_that_ended_make_room() -> None:
    site = Site(chunks_in_flight=LIMIT)
    await site.upload("acme/accounts_20261101.csv")
    first = asyncio.create_task(site.splitter.split(await leased(site)))
    await site.upload("acme/accounts_20261102.csv")
    async with asyncio.timeout(20):
        while len(site.sent()) < LIMIT:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(site.splitter.split(await leased(site)))
        site.ledger.deliveries[1].state = "rejected"
        while 2 not in {decode_chunk(one.value)[0].delivery_id for one in site.sender.sent}:
            await asyncio.sleep(0.001)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_a_tenants_further_files_leave_half_of_the_places_to_others() -> None:
    site = Site(concurrency=4, chunks_in_flight=1)
    await site.upload_set("huge", days=4)
    splitting = asyncio.create_task(site.loop.run())
    async with asyncio.timeout(20):
        while not site.sent():
            await asyncio.sleep(0.001)
        assert sum(row.state == "splitting" for row in site.ledger.deliveries.values()) == 2
        await site.upload_set("small", days=1)
        await site.upload_set("tiny", days=1)
        while set(site.sent()) != {"huge", "small", "tiny"}:
            await asyncio.sleep(0.001)
    splitting.cancel()
    await asyncio.gather(splitting, return_exceptions=True)


async def test_a_pause_stops_at_the_next_chunk_and_a_resume_sends_the_rest_once() -> None:
    site = Site(chunks_in_flight=LIMIT)
    await site.upload("acme/accounts_20261101.csv")
    splitting = asyncio.create_task(site.loop.run())
    async with asyncio.timeout(20):
        while len(site.sent()) < LIMIT:
            await asyncio.sleep(0.001)
        await site.tenants.pause("acme", reason="audit")
        while site.ledger.deliveries[1].leased_until:
            await asyncio.sleep(0.001)
        await site.store(LIMIT)
        await site.upload("zen/accounts_20261101.csv", HEADER + b"1,0001,1,EUR,0\n")
        while "zen" not in site.sent():
            await asyncio.sleep(0.001)
        assert site.sent().count("acme") == LIMIT
        await site.tenants.resume("acme")
        while not site.is_finished():
            await asyncio.sleep(0.001)
            await site.store(1)
        await splitting
    chunks = [decode_chunk(one.value)[0] for one in site.sender.sent if one.topic == "chunks"]
    indexes = [one.index for one in chunks if one.tenant == "acme"]
    assert sorted(indexes) == list(range(len(indexes)))


async def test_a_paused_tenant_is_not_split_whoever_holds_the_lease() -> None:
    site = Site()
    await site.upload("acme/accounts_20261101.csv")
    lease = await leased(site)
    await site.tenants.pause("acme", reason="")
    await site.splitter.fairness.look_for_pauses()
    with pytest.raises(TenantPaused):
        await site.splitter.split(lease)
    assert site.sent() == []


async def leased(site: Site) -> Lease:
    lease = await site.deliveries.lease()
    assert lease is not None
    return lease
