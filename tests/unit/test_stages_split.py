"""The chunk producer: every record once, resumed where another left off, never more in flight than allowed."""

import asyncio
import gzip
import threading
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.adapters.memory_chunks import MemoryChunks
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_judgement import MemoryJudgements
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_tenants import MemoryTenants
from dataharvest.deliveries import Announcement, ChunkOutcome, Lease
from dataharvest.entities import all_entities
from dataharvest.errors import ObjectTrouble, Rejected, Unavailable
from dataharvest.messages import decode_chunk, decode_progress
from dataharvest.ports import Position
from dataharvest.rules.keys import parse_object_key
from dataharvest.stages import flight, split
from dataharvest.stages.announce import announce_endings
from dataharvest.stages.flight import LeaseLost
from dataharvest.stages.persist import check, persist
from dataharvest.stages.split import Splitter
from dataharvest.stages.split_deliveries import SplitLoop
from dataharvest.stages.window import Limits

HEADER = b"record_id,account_number,cash_balance,currency,taxes_paid\n"
ROWS = [b"%d,%04d,1.50,EUR,0\n" % (number, number) for number in range(20)]
POSITION = Position("chunks", 0, 0)


class Site:
    """One file in a bucket, its delivery, and a splitter."""

    def __init__(self, *, chunk_bytes: int = 40, chunks_in_flight: int = 1000) -> None:
        self.objects = MemoryObjectStore(versioned=True)
        self.ledger = MemoryLedger()
        self.deliveries = MemoryDeliveries(self.ledger, chunk_bytes=chunk_bytes, lease_s=30)
        self.chunks = MemoryChunks(self.ledger)
        self.sender = MemorySender()
        self.contracts = MemoryContracts()
        self.splitter = Splitter(
            objects=self.objects,
            deliveries=self.deliveries,
            contracts=self.contracts,
            sender=self.sender,
            tenants=MemoryTenants(self.ledger),
            limits=Limits(chunk_count=chunks_in_flight),
            max_content_bytes=1 << 16,
            lease_s=30,
        )

    async def lease(self, content: bytes, *, key: str = "acme/accounts_20261123.csv") -> Lease:
        await self.objects.put("uploads", key, content)
        source = await self.objects.head("uploads", key)
        assert source is not None
        await self.deliveries.register(source, parse_object_key(key, entities=all_entities()))
        lease = await self.deliveries.lease()
        assert lease is not None
        return lease

    async def take_over(self, lease: Lease) -> Lease:
        """The lease of whoever goes on after the first splitter."""
        await self.deliveries.release(lease)
        again = await self.deliveries.lease()
        assert again is not None
        return again

    async def store(self, value: bytes) -> ChunkOutcome:
        metadata, data = decode_chunk(value)
        return await self.chunks.persist(metadata, check(metadata, data), position=POSITION)

    def sent_chunks(self) -> list[tuple[int, bytes]]:
        decoded = [decode_chunk(one.value) for one in self.sender.sent if one.topic == "chunks"]
        return sorted((metadata.index, data) for metadata, data in decoded)

    @property
    def row(self) -> StoredDelivery:
        [row] = self.ledger.deliveries.values()
        return row

    def loop(self) -> SplitLoop:
        def stopping() -> bool:
            return self.row.state not in ("registered", "splitting")

        return SplitLoop(
            splitter=self.splitter, deliveries=self.deliveries, sender=self.sender, concurrency=2, stopping=stopping
        )  # fmt: skip


@given(st.integers(1, 200), st.booleans())
async def test_the_chunks_are_the_records_and_the_seal_says_how_many(chunk_bytes: int, packed: bool) -> None:
    site, content = Site(chunk_bytes=chunk_bytes), HEADER + b"".join(ROWS)
    key = "acme/accounts_20261123.csv" + (".gz" if packed else "")
    lease = await site.lease(gzip.compress(content) if packed else content, key=key)
    await site.splitter.split(lease)
    assert b"".join(data for _, data in site.sent_chunks()) == b"".join(ROWS)
    sealing = site.row.sealing
    assert sealing is not None
    assert (sealing.content_sha256, sealing.chunk_count) == (sha256(content).digest(), len(site.sent_chunks()))
    assert (sealing.content_start, sealing.content_end) == (len(HEADER), len(content))
    for one in site.sender.sent:
        assert await site.store(one.value) is ChunkOutcome.STORED
    assert await MemoryJudgements(site.ledger).begin(lease.delivery_id) == "judging"


@given(st.sets(st.integers(0, 9)))
async def test_a_second_splitter_sends_only_what_the_ledger_lacks(stored: set[int]) -> None:
    first, second = Site(), Site()
    content = HEADER + b"".join(ROWS)
    await first.splitter.split(await first.lease(content))
    lease = await second.lease(content)
    for one in first.sender.sent:
        if decode_chunk(one.value)[0].index in stored:
            assert await second.store(one.value) is ChunkOutcome.STORED
    await second.splitter.split(await second.take_over(lease))
    assert second.sent_chunks() == [one for one in first.sent_chunks() if one[0] not in stored]
    assert second.row.sealing == first.row.sealing


async def test_a_chunk_that_was_stored_with_other_bytes_ends_the_delivery() -> None:
    first, second = Site(), Site()
    await first.splitter.split(await first.lease(HEADER + b"".join(ROWS)))
    lease = await second.lease(HEADER + b"".join(reversed(ROWS)))
    await second.store(first.sender.sent[0].value)
    with pytest.raises(Rejected) as refused:
        await second.splitter.split(await second.take_over(lease))
    assert refused.value.rule == "chunk_conflict"


async def test_no_more_chunks_are_in_flight_than_allowed() -> None:
    site = Site(chunks_in_flight=3)
    splitting = asyncio.create_task(site.splitter.split(await site.lease(HEADER + b"".join(ROWS))))
    stored = 0
    async with asyncio.timeout(20):
        while not splitting.done():
            await asyncio.sleep(0.001)
            assert len(site.sender.sent) - stored <= 3
            if len(site.sender.sent) - stored == 3 or site.row.sealing:
                for one in site.sender.sent[stored:]:
                    await site.store(one.value)
                stored = len(site.sender.sent)
    await splitting
    assert len(site.sent_chunks()) == len({index for index, _ in site.sent_chunks()})
    assert b"".join(data for _, data in site.sent_chunks()) == b"".join(ROWS)


async def test_a_splitter_that_lost_its_lease_seals_nothing() -> None:
    site = Site()
    lease = await site.lease(HEADER + b"".join(ROWS))
    site.row.epoch += 1
    with pytest.raises(LeaseLost):
        await site.splitter.split(lease)
    assert site.row.sealing is None


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "empty_file"),
        (b"record_id,account_number\n1,2\n", "missing_column"),
        (HEADER.replace(b"currency", b"record_id"), "repeated_column"),
        (b"\xff\xfe" + HEADER.decode().encode("utf-16-le"), "encoding"),
        (b"\x00\x01\x02\x03", "not_text"),
    ],
)
async def test_a_file_that_is_none_is_rejected_by_the_loop_and_announced(content: bytes, rule: str) -> None:
    site = Site()
    lease = await site.lease(content)
    await site.deliveries.release(lease)
    async with asyncio.timeout(10):
        await site.loop().run()
    assert (site.row.state, (site.row.failure or {})["rule"]) == ("rejected", rule)
    await announce_endings(deliveries=site.deliveries, sender=site.sender)
    [announced] = [decode_progress(one.value) for one in site.sender.sent if one.topic == "progress"]
    assert (announced.type, announced.tenant, announced.business_date) == ("delivery_removed", "acme", date(2026, 11, 23))


async def run_until_aside(site: Site) -> None:
    loop = site.loop()
    loop.stopping = lambda: site.row.state == "waiting" and not loop._running
    async with asyncio.timeout(10):
        await loop.run()


async def test_a_file_whose_contract_can_not_be_read_waits_and_is_read_once_it_can() -> None:
    site = Site()
    await site.deliveries.release(await site.lease(HEADER))
    site.contracts.unreadable.add(("acme", 0))
    await run_until_aside(site)
    assert (site.row.failure or {})["rule"] == "invalid_contract"
    site.contracts.unreadable.clear()
    site.row.next_try_at = 0
    async with asyncio.timeout(10):
        loop = site.loop()
        loop.stopping = lambda: site.row.state == "sealed"
        await loop.run()


async def test_an_end_that_can_not_be_written_down_keeps_nobody_else_from_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    await site.deliveries.release(await site.lease(b"no header of ours\n"))

    async def reject(delivery_id: int, reason: Rejected) -> bool:
        raise Rejected("PostgreSQL refuses the data (SQLSTATE 22P05)", rule="sqlstate_22P05")

    monkeypatch.setattr(site.deliveries, "reject", reject)
    await run_until_aside(site)
    assert "it can't be rejected: PostgreSQL refuses" in (site.row.failure or {})["message"]


async def test_a_file_that_three_splitters_died_over_is_rejected_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    await site.lease(HEADER)
    site.row.crash_count, site.row.leased_until = 2, 0.001

    async def split(lease: Lease) -> None:
        raise AssertionError("it was read again")

    monkeypatch.setattr(site.splitter, "split", split)
    loop = site.loop()
    loop.under_way_s = 0.5
    async with asyncio.timeout(10):
        await loop.run()
    assert (site.row.state, (site.row.failure or {})["rule"]) == ("rejected", "crashed_worker")


async def test_a_file_whose_chunks_were_only_under_way_when_three_splitters_died_is_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    await site.lease(HEADER + b"".join(ROWS))
    site.row.crash_count, site.row.leased_until = 2, 0.001
    looks = iter((0, 0, 1))

    async def stored_chunk_count(delivery_id: int) -> int:
        return next(looks, 1)

    monkeypatch.setattr(site.deliveries, "stored_chunk_count", stored_chunk_count)
    async with asyncio.timeout(10):
        await site.loop().run()
    assert (site.row.state, site.row.failure) == ("sealed", None)


async def test_nothing_else_is_read_beside_a_file_on_its_last_trial_until_it_gets_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, other = Site(), Site()
    await other.splitter.split(await other.lease(HEADER + b"".join(ROWS)))
    await site.deliveries.release(await site.lease(HEADER + b"".join(ROWS)))
    site.row.crash_count = 2
    await site.objects.put("uploads", "zen/accounts_20261123.csv", HEADER)
    source = await site.objects.head("uploads", "zen/accounts_20261123.csv")
    assert source is not None
    await site.deliveries.register(source, parse_object_key(source.key, entities=all_entities()))
    leased, is_over = list[str](), asyncio.Event()

    async def split(lease: Lease) -> None:
        leased.append(lease.tenant)
        await is_over.wait()

    monkeypatch.setattr(site.splitter, "split", split)
    monkeypatch.setattr("dataharvest.stages.split_deliveries._LOOK_AGAIN_S", 0.01)
    loop = site.loop()
    loop.stopping = is_over.is_set
    running = asyncio.create_task(loop.run())
    await asyncio.sleep(0.1)
    assert leased == ["acme"]
    assert await site.store(other.sender.sent[0].value) is ChunkOutcome.STORED
    async with asyncio.timeout(10):
        while leased != ["acme", "zen"]:
            await asyncio.sleep(0.001)
    is_over.set()
    await running


async def test_a_loop_that_ends_gives_its_leases_back_and_one_that_dies_over_a_file_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error, is_given_back in ((None, True), (ZeroDivisionError("a bug"), False)):
        site = Site()
        await site.deliveries.release(await site.lease(HEADER))
        reading = asyncio.Event()

        async def split(lease: Lease, *, fails: Exception | None = error, begun: asyncio.Event = reading) -> None:
            begun.set()
            if fails:
                raise fails
            await asyncio.sleep(60)

        monkeypatch.setattr(site.splitter, "split", split)
        running = asyncio.create_task(site.loop().run())
        async with asyncio.timeout(10):
            await reading.wait()
            if error is None:
                running.cancel()
            await asyncio.wait({running})
        assert isinstance(running.exception() if not running.cancelled() else None, ZeroDivisionError) is not is_given_back
        assert (site.row.leased_until == 0.0) is is_given_back


@pytest.mark.parametrize("failure", [Unavailable("PostgreSQL"), ZeroDivisionError("a bug")])
async def test_a_failure_while_endings_are_told_leaves_no_lease_behind(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    await site.deliveries.release(await site.lease(HEADER))
    lease, asked, leased, told = site.deliveries.lease, list[None](), list[Lease | None](), list[None]()

    async def unannounced() -> list[Announcement]:
        told.append(None)
        if len(told) > 1:
            raise Unavailable("PostgreSQL")
        return []

    async def slow(**options: Any) -> Lease | None:
        asked.append(None)
        if len(asked) == 1:
            return None
        await asyncio.sleep(0.05)
        if isinstance(failure, Unavailable):
            leased.append(await lease(**options))
            return leased[-1]
        raise failure

    async def split(_: Lease) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(site.splitter, "split", split)
    monkeypatch.setattr(site.deliveries, "unannounced", unannounced)
    monkeypatch.setattr(site.deliveries, "lease", slow)
    with pytest.raises(type(failure)):
        await site.loop().run()
    assert bool(leased) is isinstance(failure, Unavailable)
    assert site.row.leased_until == 0.0


async def test_nothing_is_leased_while_endings_can_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    await site.deliveries.release(await site.lease(HEADER))
    epoch = site.row.epoch

    async def unannounced() -> list[Announcement]:
        raise Unavailable("Kafka")

    monkeypatch.setattr(site.deliveries, "unannounced", unannounced)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await site.loop().run()
    assert site.row.epoch == epoch


@pytest.mark.parametrize(
    ("trouble", "state"), [(ObjectTrouble("forbidden", code=403), "waiting"), (Unavailable("S3"), "splitting")]
)
async def test_trouble_with_one_object_puts_it_aside_and_an_outage_gives_the_lease_back(
    trouble: Exception, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    await site.deliveries.release(await site.lease(HEADER))
    attempts: list[Lease] = []

    async def split(lease: Lease) -> None:
        attempts.append(lease)
        raise trouble

    monkeypatch.setattr(site.splitter, "split", split)
    monkeypatch.setattr("dataharvest.stages.split_deliveries._OUTAGE_PAUSE_S", 0.01)
    loop = site.loop()
    loop.stopping = lambda: bool(attempts) and not loop._running
    async with asyncio.timeout(10):
        await loop.run()
    assert site.row.state == state
    assert site.row.leased_until == 0.0


async def test_persisting_tells_the_set_about_what_is_stored_and_about_nothing_else() -> None:
    site = Site()
    lease = await site.lease(HEADER + b"".join(ROWS))
    await site.splitter.split(lease)
    first, second = [one.value for one in site.sender.sent][:2]
    site.sender.sent.clear()

    async def told() -> list[str]:
        facts = [decode_progress(one.value) for one in site.sender.sent]
        site.sender.sent.clear()
        return [one.type for one in facts]

    for expected in (["chunk_persisted"], ["chunk_persisted"]):
        await persist(first, POSITION, chunks=site.chunks, deliveries=site.deliveries, sender=site.sender)
        assert await told() == expected
    site.row.state = "rejected"
    await persist(second, POSITION, chunks=site.chunks, deliveries=site.deliveries, sender=site.sender)
    assert await told() == []


async def test_damaged_chunks_are_rejected_and_two_truths_end_the_delivery() -> None:
    site, other = Site(), Site()
    await site.splitter.split(await site.lease(HEADER + b"".join(ROWS)))
    await other.splitter.split(await other.lease(HEADER + b"".join(reversed(ROWS))))
    value, conflicting = site.sender.sent[0].value, other.sender.sent[0].value
    metadata, _, payload = value.partition(b"\n")
    for damaged in (
        metadata + b"\n" + conflicting.partition(b"\n")[2],
        metadata.replace(b"accounts", b"secrets") + b"\n" + payload,
    ):
        with pytest.raises(Rejected):
            await persist(damaged, POSITION, chunks=site.chunks, deliveries=site.deliveries, sender=site.sender)
    for one in (value, conflicting):
        await persist(one, POSITION, chunks=site.chunks, deliveries=site.deliveries, sender=site.sender)
    assert (site.row.state, site.row.failure, site.row.chunks) == (
        "rejected",
        {"rule": "chunk_conflict", "message": "chunk 0 came twice with different bytes"},
        {},
    )


async def test_long_chunks_are_hashed_and_packed_in_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    content = HEADER + b"".join(b"%d,%06d,1.50,EUR,0\n" % (number, number) for number in range(10_000))
    site = Site(chunk_bytes=100_000)
    site.splitter.max_content_bytes = 1 << 20
    threads: dict[str, list[int]] = {"chunk_metadata": [], "encode_chunk": [], "_taken": []}
    for owner, name in ((split, "chunk_metadata"), (flight, "encode_chunk"), (split.Reading, "_taken")):
        monkeypatch.setattr(owner, name, noting_its_thread(getattr(owner, name), threads[name]))
    await site.splitter.split(await site.lease(content))
    assert len(threads["encode_chunk"]) == 3
    assert {name: sum(one != threading.get_ident() for one in seen) for name, seen in threads.items()} == {
        "chunk_metadata": 2,
        "encode_chunk": 2,
        "_taken": 1,
    }


def noting_its_thread(function: Callable[..., Any], seen: list[int]) -> Callable[..., Any]:
    def noted(*terms: Any) -> Any:
        seen.append(threading.get_ident())
        return function(*terms)

    return noted
