"""What a judgement promises: exact counts, sums and lines of duplicates under every rule, in memory and in PostgreSQL."""

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from dataharvest.adapters.memory_judgement import MemoryJudgements
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.adapters.postgres.key_hashes import KeyHashing
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import SetKey
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected
from dataharvest.messages import Judgement, decode_progress
from dataharvest.objects import ObjectVersion
from dataharvest.rulebook import all_rules
from dataharvest.rules.duplicates import LISTED_COPIES, Copy
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.tiling import ConservationBroken
from dataharvest.stages.judge import Judge
from tests.contract.ledgers import ACCOUNTS, DAY, Ledger, sealing_of

KEY = SetKey("acme", DAY)
NO_ROWS = CheckedChunk(copy_text=b"", copy_columns=(), record_count=0, persisted_count=0, quarantined=())
HEADER = b"record_id,account_number,transaction_reference,amount,keyword\n"


@dataclass(frozen=True)
class Judged:
    """What became of a delivery."""

    state: str
    counts: tuple[int, int, int, int]
    """Read, persisted, quarantined, duplicate."""
    sums: dict[str, str]
    rows: list[str]
    """Natural key and amount of the rows left, in order."""
    entries: list[tuple[int, bytes, int]]
    """Quarantined as duplicates: line, record and how many it stands for."""
    lines: dict[str, list[int]]


class Site:
    """A ledger with an object store and the stage that judges."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.objects = MemoryObjectStore(versioned=True)
        self.sender = MemorySender()
        self.contract = Contract()
        self.judge = Judge(ledger.judgements, ledger.deliveries, self.objects, self.sender, self._contract_of)

    async def _contract_of(self, tenant: str, version: int) -> Contract:
        return self.contract

    async def load(self, content: bytes, *, name: str = "transactions_20261123.csv", stored: bytes | None = None) -> int:
        """A delivery that is all there; the object holds ``stored``, if that is something else."""
        key = f"acme/{name}"
        await self.objects.put("contract", key, content if stored is None else stored)
        source = await self.objects.head("contract", key)
        assert isinstance(source, ObjectVersion)
        named = ObjectName(tenant="acme", business_date=DAY, kind="data", entity="transactions", compression=None)
        delivery_id = await self.ledger.deliveries.register(source, named)
        lease = await self.ledger.deliveries.lease()
        assert lease is not None and lease.delivery_id == delivery_id
        await self.ledger.store(lease, content)
        assert await self.ledger.deliveries.seal(lease, sealing_of(content, lease=lease))
        assert await self.ledger.judgements.begin(delivery_id) == "judging"
        return delivery_id

    async def judged(self, content: bytes, rule: DuplicateRule = "reject", **options: Any) -> Judged:
        """What becomes of a content."""
        self.contract = Contract(duplicates=rule)
        delivery_id = await self.load(content, **options)
        [message] = await self.ledger.judgements.unsent(KEY)
        self.sender.sent.clear()
        while not self.sender.sent or self.sender.sent[-1].topic == "work":
            await self.judge.judge(message)
        assert decode_progress(self.sender.sent[-1].value).type == "delivery_judged"
        return await self.outcome(delivery_id)

    async def outcome(self, delivery_id: int) -> Judged:
        """What is stored of a delivery."""
        return await (_in_memory if self.ledger.rows else _in_postgres)(self.ledger, delivery_id)


async def _in_memory(ledger: Ledger, delivery_id: int) -> Judged:
    from dataharvest.adapters.memory_frames import rows_of

    assert ledger.rows is not None
    row = ledger.rows.deliveries[delivery_id]
    held = [one for _, (_, checked) in sorted(row.chunks.items()) for one in checked.quarantined if one.rule == "duplicate"]
    read = sum(checked.record_count for _, checked in row.chunks.values())
    return Judged(
        state=row.state,
        counts=(read, row.persisted_count, row.quarantined_count, sum(row.duplicates.values())),
        sums=row.sums,
        rows=sorted(f"{one['transaction_reference']} {one['amount']}" for one in rows_of(row)),
        entries=[(one.line, one.raw, one.record_count) for one in sorted(held, key=lambda one: (one.line, one.position))],
        lines=row.duplicate_lines,
    )


async def _in_postgres(ledger: Ledger, delivery_id: int) -> Judged:
    assert ledger.database is not None
    async with ledger.database.connection() as connection:

        async def fetch(query: str) -> list[Any]:
            return list(await connection.fetch(query, delivery_id))

        [row] = await fetch("SELECT * FROM delivery WHERE delivery_id = $1")
        [sums] = await fetch(
            "SELECT sum(record_count), sum(persisted_count), sum(quarantined_count), sum(duplicate_count) "
            "FROM chunk WHERE delivery_id = $1"
        )
        rows = await fetch("SELECT transaction_reference, trim_scale(amount)::text FROM row_transactions WHERE delivery_id = $1")
        held = await fetch(
            "SELECT line, raw, record_count FROM quarantine WHERE delivery_id = $1 AND rule = 'duplicate' ORDER BY line, position"
        )
        lines = await fetch("SELECT natural_key, lines FROM duplicate_key WHERE delivery_id = $1")
    counts = tuple(row[f"{name}_count"] for name in ("record", "persisted", "quarantined", "duplicate"))
    assert counts == tuple(sums)
    return Judged(
        state=row["state"],
        counts=counts,
        sums=row["sums"],
        rows=sorted(f"{one[0]} {one[1]}" for one in rows),
        entries=[tuple(one) for one in held],
        lines={one[0]: one[1] for one in lines},
    )


@pytest.fixture
def site(ledger: Ledger) -> Site:
    return Site(ledger)


def records(*pairs: tuple[str, str]) -> bytes:
    return HEADER + b"".join(f"{number},0012,{key},{amount},TAX\n".encode() for number, (key, amount) in enumerate(pairs, 1))


DIRTY = records(("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5"), ("d", "6"), ("b", "7"))
RULES: list[DuplicateRule] = ["reject", "first_wins", "last_wins"]
chunk_sizes = pytest.mark.parametrize("chunk_bytes", [1, 45, 10_000])


@pytest.mark.parametrize("rule", RULES)
async def test_a_clean_delivery_is_counted_and_summed(site: Site, rule: DuplicateRule) -> None:
    found = await site.judged(records(("a", "1"), ("b", "-2.5"), ("c", "0.0001")), rule)
    assert (found.state, found.counts) == ("complete", (3, 3, 0, 0))
    assert found.sums == {"amount": "-1.4999"}
    assert (found.entries, found.lines) == ([], {})


@chunk_sizes
async def test_every_copy_is_quarantined_with_the_lines_of_all(
    site: Site, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, chunk_bytes)
    found = await site.judged(DIRTY)
    assert (found.state, found.counts) == ("complete", (7, 2, 5, 0))
    assert found.rows == ["c 4", "d 6"]
    assert Decimal(found.sums["amount"]) == 10
    assert [(line, count) for line, _, count in found.entries] == [(2, 1), (3, 1), (4, 1), (6, 1), (8, 1)]
    assert found.entries[2][1] == b"3,0012,a,3,TAX"
    assert found.lines == {"a": [2, 4, 6], "b": [3, 8]}


@chunk_sizes
@pytest.mark.parametrize(("rule", "left"), [("first_wins", ["a 1", "b 2"]), ("last_wins", ["a 5", "b 7"])])
async def test_one_copy_wins_and_the_others_are_counted(
    site: Site, rule: DuplicateRule, left: list[str], chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, chunk_bytes)
    found = await site.judged(DIRTY, rule)
    assert (found.state, found.counts) == ("complete", (7, 4, 0, 3))
    assert found.rows == [*left, "c 4", "d 6"]
    assert (found.entries, found.lines) == ([], {"a": [2, 4, 6], "b": [3, 8]})


@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_quoted_records_blank_lines_and_bad_neighbours_do_not_move_the_lines(site: Site, suffix: str) -> None:
    content = HEADER + b'1,0012,"a",1,TAX\n\n\n2,0012,a,x,TAX\n3,0012,"a",2,"T\nX"\r\n4,0012,z,2,TAX\n'
    stored = gzip.compress(content) if suffix else content
    found = await site.judged(content, name=f"transactions_20261123.csv{suffix}", stored=stored)
    assert found.counts == (4, 1, 3, 0)
    assert found.lines == {"a": [2, 6]}
    assert [one[:2] for one in found.entries] == [(2, b'1,0012,"a",1,TAX'), (6, b'3,0012,"a",2,"T\nX"')]


@pytest.mark.parametrize("rule", RULES)
async def test_beyond_a_hundred_keys_only_counts_are_kept(
    site: Site, rule: DuplicateRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 500)
    keys = [f"k{number:03}" for number in range(150)]
    found = await site.judged(records(*((key, "1") for key in (*keys, *keys))), rule)
    assert found.counts == ((300, 0, 300, 0) if rule == "reject" else (300, 150, 0, 150))
    assert len(found.lines) == 100
    assert found.lines["k000"] == [2, 152]
    one_by_one = [one for one in found.entries if one[1]]
    assert len(one_by_one) == (200 if rule == "reject" else 0)
    assert sum(count for _, _, count in found.entries) == (300 if rule == "reject" else 0)


async def test_of_a_key_with_many_copies_ten_are_named(site: Site) -> None:
    found = await site.judged(records(*[("a", "1")] * 25))
    assert found.counts == (25, 0, 25, 0)
    assert found.lines == {"a": list(range(2, 12))}
    assert sum(count for _, _, count in found.entries) == 25
    assert len([one for one in found.entries if one[1]]) == 10


@pytest.mark.parametrize("rule", RULES)
async def test_of_many_copies_none_is_kept_in_memory_and_ten_are_named(real_ledger: Ledger, rule: DuplicateRule) -> None:
    delivery_id = await Site(real_ledger).load(records(*[("a", "1")] * 40))
    async with real_ledger.judgements.open(delivery_id) as judgement:
        assert judgement is not None and await judgement.weigh()
        places = await judgement.find_duplicates(rule)
        assert places is not None and len(places) == LISTED_COPIES
        for place in places:
            found = [Copy("a", position, position + 2, 0, b"1,0012,a,1,TAX", 14) for position in range(40)]
            await judgement.settle(place.index, found, check=lambda _: NO_ROWS)
            del found
        gc.collect()
        assert sum(isinstance(one, Copy) for one in gc.get_objects()) == 0
        assert await judgement.remove_next()
        await judgement.complete()
        assert sum(isinstance(one, Copy) for one in gc.get_objects()) == 0
    found_lines = (await Site(real_ledger).outcome(delivery_id)).lines
    assert found_lines == {"a": list(range(2, 2 + LISTED_COPIES))}


async def test_an_object_that_shows_more_copies_than_are_stored_quarantines_what_is_stored(site: Site) -> None:
    delivery_id = await site.load(records(("a", "1"), ("a", "2")))
    async with site.ledger.judgements.open(delivery_id) as judgement:
        assert judgement is not None and await judgement.weigh()
        for place in await judgement.find_duplicates("reject") or ():
            copies = [Copy("a", position, position + 2, 0, b"any", 3) for position in range(5)]
            await judgement.settle(place.index, copies, check=lambda _: NO_ROWS)
        assert await judgement.remove_next()
        await judgement.complete()
    found = await site.outcome(delivery_id)
    assert (found.counts, [one[2] for one in found.entries]) == ((2, 0, 2, 0), [1, 1])


@pytest.mark.parametrize(("rule", "counts"), [("reject", (7, 2, 5, 0)), ("first_wins", (7, 2, 5, 0))])
async def test_without_the_object_the_counts_are_exact_and_lines_are_unknown(
    site: Site, rule: DuplicateRule, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 10_000)
    found = await site.judged(DIRTY, rule, stored=DIRTY.replace(b",c,", b",x,"))
    assert found.counts == counts
    assert found.lines == {"a": [], "b": []}
    assert [one[2] for one in found.entries] == [5]


async def test_a_copy_in_another_chunk_is_told_without_the_object(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_at(monkeypatch, 1)
    found = await site.judged(DIRTY, "last_wins", stored=b"gone")
    assert (found.counts, found.rows) == ((7, 4, 0, 3), ["a 5", "b 7", "c 4", "d 6"])


async def test_a_judgement_that_comes_twice_changes_nothing(site: Site) -> None:
    first = await site.judged(DIRTY, "first_wins")
    message = Judgement(tenant="acme", business_date=DAY, delivery_id=await newest_id(site), entity="transactions")
    await site.judge.judge(message)
    assert await site.outcome(message.delivery_id) == first
    assert await site.ledger.judgements.unsent(KEY) == []


async def test_a_judgement_is_unsent_until_it_is_marked_and_overdue_until_it_is_done(site: Site) -> None:
    delivery_id = await site.load(DIRTY)
    [message] = await site.ledger.judgements.unsent(KEY)
    assert (message.delivery_id, message.entity) == (delivery_id, "transactions")
    await site.ledger.judgements.mark_sent(delivery_id)
    assert await site.ledger.judgements.unsent(KEY) == []
    assert await site.ledger.judgements.overdue(age_s=0) == [message]
    await site.judge.judge(message)
    assert await site.ledger.judgements.overdue(age_s=0) == []


async def test_a_judgement_under_way_is_marked_without_waiting_and_not_sent_again(real_ledger: Ledger) -> None:
    site = Site(real_ledger)
    delivery_id = await site.load(DIRTY)
    async with real_ledger.judgements.open(delivery_id) as judgement:
        assert judgement is not None
        async with asyncio.timeout(2):
            assert await real_ledger.judgements.unsent(KEY) == []
            assert await real_ledger.judgements.overdue(age_s=0) == []
            await real_ledger.judgements.mark_sent(delivery_id)
    assert [one.delivery_id for one in await real_ledger.judgements.overdue(age_s=0)] == [delivery_id]


async def test_an_object_that_is_only_forbidden_is_asked_for_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery_id = await site.load(DIRTY)
    [message] = await site.ledger.judgements.unsent(KEY)
    with monkeypatch.context() as outage:
        outage.setattr(site.objects, "read", forbidden)
        await site.judge.judge(message)
    found = await site.outcome(delivery_id)
    assert (found.state, found.entries, site.sender.sent) == ("judging", [], [])
    assert await site.ledger.judgements.unsent(KEY) == []
    [again] = await site.ledger.judgements.overdue(age_s=0)
    await site.judge.judge(again)
    assert (await site.outcome(delivery_id)).lines == {"a": [2, 4, 6], "b": [3, 8]}
    assert decode_progress(site.sender.sent[-1].value).type == "delivery_judged"


async def forbidden(source: ObjectVersion, *, start: int = 0, part_bytes: int = 0) -> AsyncIterator[bytes]:
    raise ObjectTrouble("S3 forbids it", code=403)
    yield b""


async def test_the_status_says_that_a_judgement_waits_for_its_object(
    real_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(real_ledger)
    await site.load(DIRTY)
    [message] = await real_ledger.judgements.unsent(KEY)
    with monkeypatch.context() as outage:
        outage.setattr(site.objects, "read", forbidden)
        await site.judge.judge(message)
    assert real_ledger.database is not None
    status = PostgresStatus(real_ledger.database, required=("transactions",), rules=all_rules().values())
    [found] = (await status.report(tenant="acme")).sets
    assert found.reason == "transactions: all stored, its judgement waits for the object (S3 forbids it)."
    await site.judge.judge(message)
    [found] = (await status.report(tenant="acme")).sets
    assert found.deliveries[0].failure is None


async def test_what_fails_in_the_middle_did_not_happen(site: Site) -> None:
    delivery_id = await site.load(DIRTY)
    before = await site.outcome(delivery_id)
    with pytest.raises(ZeroDivisionError):
        async with site.ledger.judgements.open(delivery_id) as judgement:
            assert judgement is not None and await judgement.weigh()
            await judgement.find_duplicates("reject")
            raise ZeroDivisionError
    after = await site.outcome(delivery_id)
    assert (after.state, after.rows, after.entries) == ("judging", before.rows, [])


async def test_an_older_delivery_that_is_judged_late_is_superseded(ledger: Ledger) -> None:
    older = await ledger.lease("acme", age_s=20)
    newer = await ledger.lease("acme", age_s=10)
    for lease, content in ((older, ACCOUNTS), (newer, ACCOUNTS + b"3,0014,1,EUR,0\n")):
        await ledger.store(lease, content)
        assert await ledger.deliveries.seal(lease, sealing_of(content, lease=lease))
        assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    assert await ledger.judge(newer.delivery_id) == "complete"
    assert await ledger.judge(older.delivery_id) == "superseded"


async def test_a_rejected_delivery_is_not_judged_any_more(site: Site) -> None:
    delivery_id = await site.load(DIRTY)
    [message] = await site.ledger.judgements.unsent(KEY)
    assert await site.ledger.deliveries.reject(delivery_id, Rejected("no", rule="chunk_conflict"))
    await site.judge.judge(message)
    assert await site.ledger.state_of(delivery_id) == "rejected"


async def test_rows_that_are_missing_hold_the_set_up_and_end_no_worker(real_ledger: Ledger) -> None:
    site = Site(real_ledger)
    delivery_id = await site.load(DIRTY)
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        await connection.execute("DELETE FROM row_transactions WHERE delivery_id = $1 AND amount = 1", delivery_id)
    [message] = await real_ledger.judgements.unsent(KEY)
    for _ in range(2):
        await site.judge.judge(message)
    async with real_ledger.sets.locked(KEY) as locked:
        [view] = (await locked.view()).deliveries
    assert (view.state, view.is_broken) == ("judging", True)
    with pytest.raises(ConservationBroken):
        async with real_ledger.judgements.open(delivery_id) as judgement:
            assert judgement is not None
            await judgement.weigh()


@pytest.mark.parametrize("meeting", [None, 3, 1], ids=["good hashes", "three hashes", "one hash"])
@pytest.mark.parametrize("at_once", [1 << 22, 5], ids=["in memory", "in files"])
async def test_hashes_that_meet_change_no_verdict(
    ledger: Ledger, meeting: int | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 60)
    site = Site(replace(ledger, judgements=judgements_of(ledger, meeting=meeting, at_once=at_once)))
    random = Random(f"{meeting} {at_once}")
    for number, rule in enumerate(RULES * 2):
        keys = [f"only{number}", *(f"k{random.randrange(40)}" for _ in range(random.randrange(24)))]
        random.shuffle(keys)
        found = await site.judged(records(*((key, str(line)) for line, key in enumerate(keys, 2))), rule)
        assert (found.state, found.counts, found.rows, found.lines) == ("complete", *expected(keys, rule))


def judgements_of(ledger: Ledger, *, meeting: int | None, at_once: int) -> MemoryJudgements | PostgresJudgements:
    """Judgements in which keys have only so many hashes, and so many rows are judged at once."""
    if ledger.rows is not None:
        return MemoryJudgements(ledger.rows, hashing=lambda key: len(key) % meeting if meeting else key)
    assert ledger.database is not None
    rest = f" % {meeting}" if meeting else ""
    hashing = KeyHashing(expression=KeyHashing().expression + rest, at_once=at_once)
    return PostgresJudgements(ledger.database, hashing=hashing)


def expected(keys: list[str], rule: DuplicateRule) -> tuple[tuple[int, int, int, int], list[str], dict[str, list[int]]]:
    """Counts, rows and lines of a file whose amounts are its lines."""
    lines = {key: [line for line, one in enumerate(keys, 2) if one == key] for key in keys}
    repeated = {key: found for key, found in lines.items() if len(found) > 1}
    winner = {"reject": slice(0), "first_wins": slice(1), "last_wins": slice(-1, None)}[rule]
    rows = sorted(f"{key} {line}" for key, found in lines.items() for line in (found[winner] if key in repeated else found))
    gone = len(keys) - len(rows)
    counts = (len(keys), len(rows), gone, 0) if rule == "reject" else (len(keys), len(rows), 0, gone)
    return counts, rows, repeated


async def newest_id(site: Site) -> int:
    async with site.ledger.sets.locked(KEY) as locked:
        return max(one.delivery_id for one in (await locked.view()).deliveries)


def cut_at(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    """Cut contents into chunks of this size."""
    monkeypatch.setattr("tests.contract.ledgers.CHUNK_BYTES", chunk_bytes)


async def test_a_delivery_whose_contract_can_not_be_read_stays_as_it_is_until_it_can(ledger: Ledger) -> None:
    site = Site(ledger)
    twice = HEADER + b"1,0012,t1,5,DEPOSIT\n2,0012,t1,6,DEPOSIT\n"
    delivery_id = await site.load(twice)
    message = Judgement(tenant="acme", business_date=DAY, delivery_id=delivery_id, entity="transactions")

    async def unreadable(tenant: str, version: int) -> Contract:
        raise ContractTrouble("of another program", rule="invalid_contract", tenant=tenant, version=version)

    site.judge.contract_of = unreadable
    await site.judge.judge(message)
    assert (await ledger.judgements.begin(delivery_id), site.sender.sent) == ("judging", [])
    assert await ledger.judgements.is_going_on(delivery_id)
    site.judge.contract_of = site._contract_of
    await site.judge.judge(message)
    assert await ledger.judgements.begin(delivery_id) == "complete"
    assert not await ledger.judgements.is_going_on(delivery_id)
    assert not await ledger.judgements.is_going_on(delivery_id + 1)
