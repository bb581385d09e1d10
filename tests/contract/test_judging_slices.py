"""Judging in slices: whatever comes between two of them, they find what one pass over all rows would have found."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from dataharvest.adapters.memory_judgement import MemoryJudgements
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.adapters.postgres.judgement_suspects import PART_COUNT
from dataharvest.adapters.postgres.key_hashes import KeyHashing
from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.errors import Rejected
from dataharvest.messages import Judgement, decode_progress, decode_work
from dataharvest.ports import Judgements
from dataharvest.rules.tiling import ConservationBroken
from dataharvest.sql import queries
from tests.contract.ledgers import DAY, Ledger, someone_waits
from tests.contract.test_judgement import KEY, RULES, Site, cut_at, expected, records

SLICE_ROWS, ROW_COUNT = 100, 450
"""A slice is a block of the table, so the rows are four of them and a bit."""
KEPT = (
    "judgement_slice",
    "judgement_copy",
    "judgement_key",
    "judgement_decision",
    "judgement_reading",
    "judgement_named",
)
FOREIGN_ROWS = """
INSERT INTO row_transactions (delivery_id, record_id, account_number, transaction_reference, amount, keyword)
SELECT 0, i, 'a', 'foreign' || i, 1, 'TAX' FROM generate_series(1, 3000) AS i
"""


def sliced(ledger: Ledger, *, hashing: KeyHashing | None = None) -> Judgements:
    """Judgements of which a slice is as small as can be."""
    if ledger.rows is not None:
        return MemoryJudgements(ledger.rows, slice_rows=SLICE_ROWS)
    assert ledger.database is not None
    return PostgresJudgements(ledger.database, slice_rows=SLICE_ROWS, hashing=hashing or KeyHashing())


@pytest.fixture(autouse=True)
def one_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step reads one chunk again."""
    monkeypatch.setattr("dataharvest.stages.read_again.STEP_BYTES", 1)


@pytest.fixture
def site(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Site:
    cut_at(monkeypatch, 2_000)
    return Site(replace(ledger, judgements=sliced(ledger)))


@pytest.fixture
def real_site(real_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Site:
    cut_at(monkeypatch, 2_000)
    return Site(replace(real_ledger, judgements=sliced(real_ledger)))


def keys_of(count: int = ROW_COUNT, *, twice: int = 0) -> list[str]:
    """Keys of a file; so many of the first ones once more at its end."""
    keys = [f"key{number:05}" for number in range(count)]
    return keys + keys[:twice]


def content_of(keys: Sequence[str]) -> bytes:
    """A file whose amounts are its lines."""
    return records(*((key, str(line)) for line, key in enumerate(keys, 2)))


def message_of(delivery_id: int) -> Judgement:
    return Judgement(tenant="acme", business_date=DAY, delivery_id=delivery_id, entity="transactions")


async def steps(site: Site, delivery_id: int, *, most: int = 300) -> int:
    """Judge until the set is told, every message once; how many it took."""
    for count in range(1, most + 1):
        await site.judge.judge(message_of(delivery_id))
        if site.sender.sent[-1].topic == "progress":
            return count
        assert decode_work(site.sender.sent[-1].value) == message_of(delivery_id)
    raise AssertionError("it is never judged")


async def until_a_chunk_is_read_again(site: Site, delivery_id: int) -> None:
    """Judge until the first chunk with copies was read again, and more are to be read."""
    read = "SELECT FROM judgement_reading WHERE delivery_id = $1 AND is_read"
    while not await database_of(site).rows(read, delivery_id):
        await site.judge.judge(message_of(delivery_id))
        assert decode_work(site.sender.sent[-1].value) == message_of(delivery_id)


async def is_judged_as(site: Site, delivery_id: int, keys: list[str], rule: DuplicateRule = "reject") -> None:
    """Hold what became of it to what ought to."""
    found = await site.outcome(delivery_id)
    counts, rows, lines = expected(keys, rule)
    assert (found.state, found.counts, found.rows, found.lines) == ("complete", counts, rows, lines)
    assert sum(float(row.split()[1]) for row in rows) == float(found.sums["amount"])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("twice", [0, 3])
async def test_a_large_delivery_is_judged_in_steps_as_it_would_be_at_once(site: Site, rule: DuplicateRule, twice: int) -> None:
    site.contract = Contract(duplicates=rule)
    keys = keys_of(twice=twice)
    delivery_id = await site.load(content_of(keys))
    assert await steps(site, delivery_id) > 3
    await is_judged_as(site, delivery_id, keys, rule)


async def test_a_message_that_comes_after_the_verdict_is_told_the_same(site: Site) -> None:
    delivery_id = await site.load(content_of(keys_of()))
    await steps(site, delivery_id)
    before = await site.outcome(delivery_id)
    site.sender.sent.clear()
    await site.judge.judge(message_of(delivery_id))
    assert [decode_progress(one.value).type for one in site.sender.sent] == ["delivery_judged"]
    assert await site.outcome(delivery_id) == before


async def test_a_slice_that_fails_counts_nothing_and_is_counted_by_whoever_comes_next(site: Site) -> None:
    keys = keys_of(twice=1)
    delivery_id = await site.load(content_of(keys))
    undisturbed = 0
    for _ in range(2):
        async with site.ledger.judgements.open(delivery_id) as judgement:
            assert judgement is not None and not await judgement.count_next()
            undisturbed += 1
        with pytest.raises(ZeroDivisionError):
            async with site.ledger.judgements.open(delivery_id) as judgement:
                assert judgement is not None and not await judgement.count_next()
                raise ZeroDivisionError
    rest = await steps(site, delivery_id)
    await is_judged_as(site, delivery_id, keys)
    if site.ledger.database is not None:
        # The rows of the next, whose keys are as long, are to lie in blocks as these did: the number of steps depends on it.
        await database_of(site).run("TRUNCATE row_transactions")
    again = await site.load(content_of([f"other{key[5:]}" for key in keys]), name="b/transactions_20261123.csv")
    assert await steps(site, again) == undisturbed + rest


async def test_a_message_that_gets_lost_is_overdue_until_the_verdict(site: Site) -> None:
    keys = keys_of(twice=2)
    delivery_id = await site.load(content_of(keys))
    while not any(one.topic == "progress" for one in site.sender.sent):
        assert await site.ledger.judgements.overdue(age_s=0) == [message_of(delivery_id)]
        await site.judge.judge(message_of(delivery_id))
        assert await site.ledger.judgements.unsent(KEY) == []
    await is_judged_as(site, delivery_id, keys)
    assert await site.ledger.judgements.overdue(age_s=0) == []


async def test_a_slice_that_was_sent_on_is_not_overdue(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of()))
    await database_of(real_site).run("UPDATE delivery SET sealed_at = now() - interval '1 hour', judgement_sent_at = NULL")
    assert len(await real_site.ledger.judgements.overdue(age_s=120)) == 1
    await real_site.judge.judge(message_of(delivery_id))
    assert real_site.sender.sent[-1].topic == "work"
    assert await real_site.ledger.judgements.overdue(age_s=120) == []


async def test_two_workers_at_once_count_one_after_the_other_and_nothing_twice(real_site: Site) -> None:
    keys = keys_of(twice=2)
    delivery_id = await real_site.load(content_of(keys))
    async with asyncio.timeout(20):
        while not any(one.topic == "progress" for one in real_site.sender.sent):
            await asyncio.gather(*(real_site.judge.judge(message_of(delivery_id)) for _ in range(2)))
    await is_judged_as(real_site, delivery_id, keys)


async def test_a_second_worker_waits_for_the_slice_and_counts_the_next(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of()))
    async with real_site.ledger.judgements.open(delivery_id) as first:
        assert first is not None and not await first.count_next()
        second = asyncio.create_task(real_site.judge.judge(message_of(delivery_id)))
        await database_of(real_site).someone_waits()
        assert await database_of(real_site).slices(delivery_id) == []
    await second
    counted = await database_of(real_site).slices(delivery_id)
    assert [stop for _, stop, _ in counted[:-1]] == [start for start, _, _ in counted[1:]]
    assert len(counted) >= 2
    await steps(real_site, delivery_id)
    await is_judged_as(real_site, delivery_id, keys_of())


async def test_no_row_is_in_two_slices_and_the_blocks_are_those_of_the_rows(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of()))
    await database_of(real_site).run(FOREIGN_ROWS)
    async with asyncio.timeout(20):
        while sum(count for _, _, count in await database_of(real_site).slices(delivery_id)) < ROW_COUNT:
            await real_site.judge.judge(message_of(delivery_id))
    counted = await database_of(real_site).slices(delivery_id)
    assert sum(count for _, _, count in counted) == ROW_COUNT
    assert counted[-1][2] > 0, "what lies behind the last row is not gone through"
    assert await steps(real_site, delivery_id) == 1
    assert await database_of(real_site).slices(delivery_id) == []
    [noted] = await database_of(real_site).rows(
        "SELECT first_block, last_block FROM delivery WHERE delivery_id = $1", delivery_id
    )
    [there] = await database_of(real_site).rows(
        "SELECT min(ctid), max(ctid) FROM row_transactions WHERE delivery_id = $1", delivery_id
    )
    assert list(noted) == [there[0][0], there[1][0]]


async def test_rows_that_move_between_slices_are_counted_anew(real_site: Site) -> None:
    keys = keys_of(twice=2)
    gone = await real_site.load(content_of([f"gone{key}" for key in keys]), name="b/transactions_20261123.csv")
    delivery_id = await real_site.load(content_of(keys))
    for _ in range(2):
        await real_site.judge.judge(message_of(delivery_id))
    before = await database_of(real_site).slices(delivery_id)
    # The rows in front go: what is behind them comes to lie where others have been.
    await database_of(real_site).run(f"DELETE FROM row_transactions WHERE delivery_id = {gone}", "VACUUM FULL row_transactions")
    await real_site.judge.judge(message_of(delivery_id))
    after = await database_of(real_site).slices(delivery_id)
    assert after[0][0] < before[0][0]
    await steps(real_site, delivery_id)
    await is_judged_as(real_site, delivery_id, keys)


async def test_rows_that_move_before_the_last_step_are_counted_anew(real_site: Site) -> None:
    keys = keys_of(twice=2)
    delivery_id = await real_site.load(content_of(keys))
    while sum(count for _, _, count in await database_of(real_site).slices(delivery_id)) < len(keys):
        await real_site.judge.judge(message_of(delivery_id))
    await database_of(real_site).run("VACUUM FULL row_transactions")
    assert await steps(real_site, delivery_id) > 3
    await is_judged_as(real_site, delivery_id, keys)


@pytest.mark.parametrize("loss", ["TRUNCATE judgement_slice", "UPDATE judgement_slice SET table_layout = 'another server'"])
async def test_slices_that_a_crash_of_the_server_or_a_restore_took_are_counted_anew(real_site: Site, loss: str) -> None:
    keys = keys_of(twice=2)
    delivery_id = await real_site.load(content_of(keys))
    for _ in range(2):
        await real_site.judge.judge(message_of(delivery_id))
    await database_of(real_site).run(loss)
    assert await steps(real_site, delivery_id) > 3
    await is_judged_as(real_site, delivery_id, keys)


async def test_a_slice_that_got_lost_in_the_middle_has_the_whole_counted(real_site: Site) -> None:
    keys = keys_of(twice=2)
    delivery_id = await real_site.load(content_of(keys))
    for _ in range(3):
        await real_site.judge.judge(message_of(delivery_id))
    await database_of(real_site).run(
        "DELETE FROM judgement_slice WHERE first_block = (SELECT min(first_block) FROM judgement_slice)"
    )
    await steps(real_site, delivery_id)
    await is_judged_as(real_site, delivery_id, keys)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("at_once", [1 << 20, 20])
async def test_where_most_keys_occur_more_than_once_they_are_found_in_steps_as_well(
    real_ledger: Ledger, rule: DuplicateRule, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 2_000)
    monkeypatch.setattr("dataharvest.adapters.postgres.judgement_suspects._SUSPECTS_AT_ONCE", 50)
    site = Site(replace(real_ledger, judgements=sliced(real_ledger, hashing=KeyHashing(at_once=at_once))))
    site.contract = Contract(duplicates=rule)
    keys = keys_of(200, twice=200) + ["key00001"] * 30
    delivery_id = await site.load(content_of(keys))
    assert await steps(site, delivery_id) > 20
    found = await site.outcome(delivery_id)
    counts, rows, _ = expected(keys, rule)
    assert (found.state, found.counts, found.rows) == ("complete", counts, rows)
    assert await database_of(site).kept(delivery_id) == 0


@pytest.mark.parametrize("rule", RULES)
async def test_a_small_delivery_with_many_copies_is_judged_in_steps(real_site: Site, rule: DuplicateRule) -> None:
    real_site.contract = Contract(duplicates=rule)
    keys = keys_of(SLICE_ROWS // 2, twice=SLICE_ROWS // 2)
    delivery_id = await real_site.load(content_of(keys))
    assert await steps(real_site, delivery_id) > 5
    await is_judged_as(real_site, delivery_id, keys, rule)
    assert await database_of(real_site).kept(delivery_id) == 0


async def test_rows_that_are_missing_hold_the_set_up(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of()))
    await database_of(real_site).run("DELETE FROM row_transactions WHERE amount = 2")
    await steps(real_site, delivery_id)
    for _ in range(2):
        assert (await real_site.outcome(delivery_id)).state == "judging"
        with pytest.raises(ConservationBroken, match="449 rows are there, 450 in the ledger"):
            async with real_site.ledger.judgements.open(delivery_id) as judgement:
                assert judgement is not None and await judgement.count_next()
                await judgement.weigh()


async def test_a_delivery_that_is_rejected_between_slices_is_not_judged_and_leaves_nothing(site: Site) -> None:
    delivery_id = await site.load(content_of(keys_of()))
    await site.judge.judge(message_of(delivery_id))
    assert await site.ledger.deliveries.reject(delivery_id, Rejected("no", rule="chunk_conflict"))
    assert await steps(site, delivery_id) == 1
    assert await site.ledger.state_of(delivery_id) == "rejected"
    assert await site.ledger.judgements.forget_concluded() == 1
    assert await site.ledger.judgements.forget_concluded() == 0
    if site.ledger.database is not None:
        assert await database_of(site).kept(delivery_id) == 0


async def test_what_was_kept_of_a_superseded_delivery_is_forgotten_and_that_of_others_is_not(real_site: Site) -> None:
    """The same takes away what a worker of an older version leaves behind when it judges."""
    keys = keys_of(twice=3)
    going_on = await real_site.load(content_of(keys))
    superseded = await real_site.load(content_of([f"other{key}" for key in keys]), name="b/transactions_20261123.csv")
    kept: dict[int, int] = {}
    for delivery_id in (going_on, superseded):
        await until_a_chunk_is_read_again(real_site, delivery_id)
        kept[delivery_id] = await database_of(real_site).kept(delivery_id)
        assert kept[delivery_id] > 12
    await database_of(real_site).run(f"UPDATE delivery SET state = 'superseded' WHERE delivery_id = {superseded}")
    assert await steps(real_site, superseded) == 1
    assert await real_site.ledger.judgements.forget_concluded() == 1
    assert await database_of(real_site).kept(superseded) == 0
    assert await database_of(real_site).kept(going_on) == kept[going_on]
    assert await real_site.ledger.removals.remove(superseded)
    await steps(real_site, going_on)
    await is_judged_as(real_site, going_on, keys)
    assert await database_of(real_site).kept(going_on) == 0


async def test_a_large_delivery_without_duplicates_is_complete_though_its_rows_are_apart(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of(300)))
    await database_of(real_site).run(
        *[FOREIGN_ROWS] * 5,
        f"UPDATE row_transactions SET keyword = 'FEE' WHERE record_id > 200 AND delivery_id = {delivery_id}",
    )
    blocks = await database_of(real_site).rows(
        "SELECT DISTINCT (ctid::text::point)[0]::int FROM row_transactions WHERE delivery_id = $1", delivery_id
    )
    step_count = await steps(real_site, delivery_id)
    assert step_count <= 2 * len(blocks), "the two hundred blocks of others in between take no steps"
    await is_judged_as(real_site, delivery_id, keys_of(300))


@pytest.mark.parametrize("meeting", [None, 3, 1], ids=["good hashes", "three hashes", "one hash"])
@pytest.mark.parametrize("at_once", [1 << 22, 150, 20], ids=["at once", "part by part", "in steps"])
async def test_hashes_that_meet_change_no_verdict(
    real_ledger: Ledger, meeting: int | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 2_000)
    rest = f" % {meeting}" if meeting else ""
    hashing = KeyHashing(expression=KeyHashing().expression + rest, at_once=at_once)
    site = Site(replace(real_ledger, judgements=sliced(real_ledger, hashing=hashing)))
    random = Random(f"{meeting} {at_once}")
    for number, rule in enumerate(RULES):
        site.contract = Contract(duplicates=rule)
        keys = [f"n{number}k{random.randrange(2_000):04}" for _ in range(ROW_COUNT)]
        delivery_id = await site.load(content_of(keys), name=f"{number}/transactions_20261123.csv")
        merged_parts = set()
        while not site.sender.sent or site.sender.sent[-1].topic != "progress":
            await site.judge.judge(message_of(delivery_id))
            query = "SELECT max(merged_part_count) FROM judgement_slice WHERE delivery_id = $1"
            merged_parts |= {row[0] for row in await database_of(site).rows(query, delivery_id)}
        site.sender.sent.clear()
        assert (merged_parts > {None, 0, PART_COUNT}) == (at_once == 20 and meeting is None)
        found = await site.outcome(delivery_id)
        counts, rows, _ = expected(keys, rule)
        assert (found.state, found.counts, found.rows) == ("complete", counts, rows)


async def test_a_small_delivery_is_judged_in_one_step_without_a_statement_more(real_site: Site) -> None:
    delivery_id = await real_site.load(content_of(keys_of(SLICE_ROWS)))
    seen: list[str] = []
    assert real_site.ledger.database is not None
    async with real_site.ledger.database.connection() as connection:
        connection.add_query_logger(lambda record: seen.append(record.query))
    judgements = PostgresJudgements(real_site.ledger.database, slice_rows=SLICE_ROWS)
    async with judgements.open(delivery_id) as judgement:
        assert judgement is not None
        before = list(seen)
        assert await judgement.count_next()
        assert seen == before != []
        assert not await judgement.weigh()
        await judgement.complete()
    of_slices = {one.split("\n")[-1] for one in queries("judgement_slices").values()}
    assert not [one for one in seen if one.split("\n")[-1] in of_slices]


class SlicesInDatabase:
    """What is looked at, and done to, behind the ports' backs."""

    def __init__(self, site: Site) -> None:
        assert site.ledger.database is not None
        self.database = site.ledger.database

    async def run(self, *statements: str) -> None:
        async with self.database.connection() as connection:
            for one in statements:
                await connection.execute(one)

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def slices(self, delivery_id: int) -> list[tuple[int, int, int]]:
        """First block, the one after the last, and rows of each slice."""
        query = "SELECT first_block, stop_block, record_count FROM judgement_slice WHERE delivery_id = $1 ORDER BY first_block"
        return [tuple(one) for one in await self.rows(query, delivery_id)]

    async def kept(self, delivery_id: int) -> int:
        """Rows that are kept of the delivery between two steps."""
        return sum([len(await self.rows(f"SELECT FROM {one} WHERE delivery_id = $1", delivery_id)) for one in KEPT])

    async def someone_waits(self) -> None:
        """Until a session waits for a lock."""
        await someone_waits(self.database)


def database_of(site: Site) -> SlicesInDatabase:
    return SlicesInDatabase(site)
