"""Copies in a large delivery, judged in steps: whatever comes between two of them, the verdict is that of one pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.ports import Judgements, LockedJudgement
from dataharvest.rules.tiling import ConservationBroken
from tests.contract.ledgers import Ledger
from tests.contract.test_judgement import RULES, Site, cut_at, expected
from tests.contract.test_judging_slices import (
    KEPT,
    ROW_COUNT,
    content_of,
    database_of,
    keys_of,
    message_of,
    one_chunk_at_a_time,
    sliced,
    steps,
    until_a_chunk_is_read_again,
)

__all__ = ["one_chunk_at_a_time"]

FOREIGN_ROWS = """
INSERT INTO row_transactions (delivery_id, record_id, account_number, transaction_reference, amount, keyword)
SELECT 0, i, 'a', 'foreign' || i, 1, 'TAX' FROM generate_series(1, 900) AS i
"""
FEWER_FOREIGN_ROWS = """
DELETE FROM row_transactions WHERE ctid IN (SELECT ctid FROM row_transactions WHERE delivery_id = 0 LIMIT 90)
"""


def keys_with_copies(seed: int) -> list[str]:
    """Keys that occur once and, anywhere, up to four times, some of them in one chunk; a few more than are named by line."""
    random = Random(seed)
    keys = keys_of(ROW_COUNT - 150)
    keys += [random.choice(keys[:120]) for _ in range(100)]
    random.shuffle(keys)
    for _ in range(25):
        place = random.randrange(len(keys))
        keys[place:place] = [f"beside{place}"] * 2
    return keys


@pytest.fixture
def site(real_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Site:
    cut_at(monkeypatch, 2_000)
    return Site(replace(real_ledger, judgements=sliced(real_ledger)))


async def verdict(site: Site, delivery_id: int, *, number: int) -> str:
    """What became of a file, as it would be whatever its number."""
    found = await site.outcome(delivery_id)
    return repr(replace(found, lines=dict(sorted(found.lines.items())))).replace(f"n{number:02}", "n--")


async def load(site: Site, keys: Sequence[str], *, number: int) -> int:
    """A file of these keys, which are different in every file."""
    content = content_of([f"n{number:02}{key}" for key in keys])
    return await site.load(content, name=f"{number:02}/transactions_20261123.csv")


async def copies_among_others(site: Site, rule: DuplicateRule) -> tuple[list[str], str]:
    """Keys of a file with copies, to be loaded among others' rows, and the verdict of one pass over such a file."""
    site.contract, keys = Contract(duplicates=rule), keys_with_copies(1)
    await database_of(site).run(FOREIGN_ROWS)
    return keys, await judged_at_once(site, keys)


async def is_judged_as_at_once(site: Site, delivery_id: int, at_once: str, *, number: int = 1) -> None:
    """It has the verdict of one pass, and nothing is kept of its steps."""
    assert await verdict(site, delivery_id, number=number) == at_once
    assert await database_of(site).kept(delivery_id) == 0


class EndsBeforeCommit:
    """A worker that does a whole step and ends right before its commit."""

    def __init__(self, judgements: Judgements) -> None:
        self._judgements = judgements

    @asynccontextmanager
    async def open(self, delivery_id: int) -> AsyncIterator[LockedJudgement | None]:
        async with self._judgements.open(delivery_id) as judgement:
            yield judgement
            raise ZeroDivisionError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judgements, name)


async def fail_in_it(site: Site, delivery_id: int) -> None:
    """Whatever a step has done before its commit, it has done nothing."""
    before = await seen(site, delivery_id)
    failing = EndsBeforeCommit(site.ledger.judgements)
    judge = replace(site.judge, judgements=cast(Judgements, failing))
    with pytest.raises(ZeroDivisionError):
        await judge.judge(message_of(delivery_id))
    assert await seen(site, delivery_id) == before


async def seen(site: Site, delivery_id: int) -> list[Any]:
    """What others see of a delivery, and last what is kept of its steps."""
    database = database_of(site)
    return [
        await database.rows("SELECT * FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index", delivery_id),
        await database.rows("SELECT ctid, * FROM row_transactions WHERE delivery_id = $1 ORDER BY ctid", delivery_id),
        await database.rows("SELECT * FROM quarantine WHERE delivery_id = $1 ORDER BY chunk_index, position", delivery_id),
        await database.rows("SELECT * FROM duplicate_key WHERE delivery_id = $1 ORDER BY natural_key", delivery_id),
        await database.rows("SELECT * FROM delivery WHERE delivery_id = $1", delivery_id),
        [await database.rows(f"SELECT ctid, * FROM {one} WHERE delivery_id = $1 ORDER BY ctid", delivery_id) for one in KEPT],
    ]


async def nothing_is_lost(site: Site, delivery_id: int) -> None:
    """Each row and each entry is counted in the ledger, between whatever steps."""
    chunks, rows, entries, keys, [delivery], _ = await seen(site, delivery_id)
    for name in ("record_count", "persisted_count", "quarantined_count", "duplicate_count"):
        assert sum(one[name] for one in chunks) == delivery[name]
    assert delivery["persisted_count"] == len(rows)
    assert sum(one["quarantined_count"] for one in chunks) == sum(one["record_count"] for one in entries)
    assert delivery["state"] == "judging"
    assert keys == []


async def move_rows(site: Site, delivery_id: int) -> None:
    """Rows in front of them go, and the table is written anew."""
    await database_of(site).run(FEWER_FOREIGN_ROWS, "VACUUM FULL row_transactions")


async def lose_slices(site: Site, delivery_id: int) -> None:
    """A crash of the server, or a standby that takes over: the table that is not logged is empty."""
    await database_of(site).run("TRUNCATE judgement_slice")


async def lose_copies(site: Site, delivery_id: int) -> None:
    """Somebody empties one of the tables."""
    await database_of(site).run("TRUNCATE judgement_copy")


async def repeat(site: Site, delivery_id: int) -> None:
    """The message comes twice."""
    for _ in range(2):
        await site.judge.judge(message_of(delivery_id))


async def double(site: Site, delivery_id: int) -> None:
    """The message comes to two workers at the same time."""
    await asyncio.gather(*(site.judge.judge(message_of(delivery_id)) for _ in range(2)))


async def double_in_other_slices(site: Site, delivery_id: int) -> None:
    """The other worker was started with another size of slices."""
    other = replace(site.judge, judgements=PostgresJudgements(database_of(site).database, slice_rows=40))
    await asyncio.gather(*(judge.judge(message_of(delivery_id)) for judge in (site.judge, other)))


async def vacuum(site: Site, delivery_id: int) -> None:
    """What the autovacuum does, at its strictest."""
    await database_of(site).run("VACUUM (FREEZE, ANALYZE) row_transactions", "VACUUM ANALYZE judgement_copy")


Disturbance = Callable[[Site, int], Awaitable[None]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("disturb", [fail_in_it, repeat, double, double_in_other_slices, vacuum])
async def test_whatever_comes_between_any_two_steps_the_verdict_is_that_of_one_pass(
    site: Site, rule: DuplicateRule, disturb: Disturbance
) -> None:
    keys, at_once = await copies_among_others(site, rule)
    delivery_id = await load(site, keys, number=1)
    removals = 0
    while await site.ledger.judgements.is_going_on(delivery_id):
        await nothing_is_lost(site, delivery_id)
        removals += await has_begun_to_remove(site, delivery_id)
        await disturb(site, delivery_id)
        await site.judge.judge(message_of(delivery_id))
    assert removals > 1
    await is_judged_as_at_once(site, delivery_id, at_once)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("disturb", [move_rows, lose_slices])
async def test_whatever_comes_between_two_steps_of_removing_the_verdict_is_that_of_one_pass(
    site: Site, rule: DuplicateRule, disturb: Disturbance
) -> None:
    keys, at_once = await copies_among_others(site, rule)
    delivery_id = await load(site, keys, number=1)
    removals = 0
    while await site.ledger.judgements.is_going_on(delivery_id):
        await nothing_is_lost(site, delivery_id)
        if await has_begun_to_remove(site, delivery_id):
            removals += 1
            await disturb(site, delivery_id)
            await site.judge.judge(message_of(delivery_id))
        await site.judge.judge(message_of(delivery_id))
    assert removals > 1
    await is_judged_as_at_once(site, delivery_id, at_once)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("disturb", [move_rows, lose_slices, lose_copies])
async def test_whatever_comes_before_it_is_decided_the_verdict_is_that_of_one_pass(
    site: Site, rule: DuplicateRule, disturb: Disturbance
) -> None:
    keys, at_once = await copies_among_others(site, rule)
    for number, step in enumerate(range(1, 100, 3), 2):
        delivery_id = await load(site, keys, number=number)
        for _ in range(step):
            await site.judge.judge(message_of(delivery_id))
        is_decided = await database_of(site).rows("SELECT FROM judgement_decision WHERE delivery_id = $1", delivery_id)
        if not is_decided:
            await disturb(site, delivery_id)
        await steps(site, delivery_id)
        await is_judged_as_at_once(site, delivery_id, at_once, number=number)
        if is_decided:
            break
    assert number > 4


async def has_begun_to_remove(site: Site, delivery_id: int) -> bool:
    """Whether some copies are removed, and not all."""
    begun = "SELECT FROM judgement_decision WHERE delivery_id = $1 AND next_chunk IS NOT NULL AND NOT are_copies_settled"
    return bool(await database_of(site).rows(begun, delivery_id))


async def half_removed(site: Site) -> int:
    """A delivery some of whose copies are removed."""
    delivery_id = await site.load(content_of(keys_with_copies(1)))
    while not await has_begun_to_remove(site, delivery_id):
        await site.judge.judge(message_of(delivery_id))
    return delivery_id


async def test_copies_that_somebody_takes_away_while_others_are_removed_hold_the_set_up(site: Site) -> None:
    delivery_id = await half_removed(site)
    await lose_copies(site, delivery_id)
    await steps(site, delivery_id)
    assert (await site.outcome(delivery_id)).state == "judging"
    await breaks(site, delivery_id, match="copies were settled")


async def test_rows_that_were_restored_from_a_dump_while_copies_are_removed_have_to_come_again(site: Site) -> None:
    delivery_id = await half_removed(site)
    await database_of(site).run("UPDATE row_transactions SET keyword = 'TAX'")
    await site.judge.judge(message_of(delivery_id))
    assert await site.ledger.state_of(delivery_id) == "rejected"
    assert await database_of(site).rows("SELECT FROM row_transactions WHERE delivery_id = $1", delivery_id) == []


@pytest.mark.parametrize("outcome", ["rejected", "superseded"])
async def test_a_delivery_that_ends_while_its_copies_are_removed_leaves_nothing(site: Site, outcome: str) -> None:
    delivery_id = await half_removed(site)
    if outcome == "rejected":
        assert await site.ledger.deliveries.reject(delivery_id, Rejected("no", rule="chunk_conflict"))
    else:
        await database_of(site).run(f"UPDATE delivery SET state = 'superseded' WHERE delivery_id = {delivery_id}")
        assert await site.ledger.removals.remove(delivery_id)
    assert await steps(site, delivery_id) == 1
    assert await site.ledger.state_of(delivery_id) == outcome
    assert await site.ledger.judgements.forget_concluded() == 1
    assert await database_of(site).kept(delivery_id) == 0
    assert await database_of(site).rows("SELECT FROM row_transactions WHERE delivery_id = $1", delivery_id) == []


@pytest.mark.parametrize("rule", RULES)
async def test_workers_one_of_which_takes_slices_and_the_other_all_at_once_come_to_one_verdict(
    site: Site, rule: DuplicateRule
) -> None:
    site.contract, keys = Contract(duplicates=rule), keys_with_copies(1)
    at_once = await judged_at_once(site, keys)
    delivery_id = await load(site, keys, number=1)
    await take_turns(site, delivery_id, PostgresJudgements(database_of(site).database))
    await is_judged_as_at_once(site, delivery_id, at_once)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("slice_rows", [40, 200])
async def test_workers_with_slices_of_other_sizes_that_take_turns_search_and_remove_together(
    site: Site, rule: DuplicateRule, slice_rows: int
) -> None:
    keys, at_once = await copies_among_others(site, rule)
    delivery_id = await load(site, keys, number=1)
    phases = await take_turns(site, delivery_id, PostgresJudgements(database_of(site).database, slice_rows=slice_rows))
    for phase in ("counting", "searching", "deciding", "removing", "counting again"):
        assert {turn for turn, one in phases if one == phase} == {0, 1}, phase
    await is_judged_as_at_once(site, delivery_id, at_once)


PHASE = """
SELECT CASE WHEN d.are_copies_settled THEN 'counting again' WHEN d.next_chunk IS NOT NULL THEN 'removing'
            WHEN d.delivery_id IS NOT NULL THEN 'deciding'
            WHEN EXISTS (SELECT FROM judgement_key WHERE delivery_id = $1) THEN 'searching' ELSE 'counting' END
FROM (SELECT) nothing LEFT JOIN judgement_decision d ON delivery_id = $1
"""


async def take_turns(site: Site, delivery_id: int, other: Judgements) -> list[tuple[int, str]]:
    """Judge by two workers, one step each; whose turn it was in what phase."""
    both, phases = (site.judge.judgements, other), list[tuple[int, str]]()
    while await site.ledger.judgements.is_going_on(delivery_id):
        turn = len(phases) % 2
        [[phase]] = await database_of(site).rows(PHASE, delivery_id)
        phases.append((turn, phase))
        assert len(phases) < 400
        site.judge.judgements = both[turn]
        await site.judge.judge(message_of(delivery_id))
    return phases


async def judged_at_once(site: Site, keys: Sequence[str]) -> str:
    """What one pass over all rows, and over all chunks that have to be read again, makes of it."""
    whole = Site(site.ledger)
    whole.judge.judgements, whole.contract = PostgresJudgements(database_of(site).database), site.contract
    delivery_id = await load(whole, keys, number=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataharvest.stages.read_again.STEP_BYTES", 1 << 20)
        assert await steps(whole, delivery_id) == 1
    return await verdict(whole, delivery_id, number=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
async def test_copies_judged_in_steps_are_what_the_file_says(site: Site, rule: DuplicateRule, seed: int) -> None:
    site.contract, keys = Contract(duplicates=rule), keys_with_copies(seed)
    delivery_id = await site.load(content_of(keys))
    await steps(site, delivery_id)
    found = await site.outcome(delivery_id)
    counts, rows, lines = expected(keys, rule)
    assert (found.state, found.counts, found.rows) == ("complete", counts, rows)
    assert len(found.lines) == min(100, len(lines))
    assert found.lines.items() <= lines.items()
    assert sum(float(row.split()[1]) for row in rows) == float(found.sums["amount"])


@pytest.mark.parametrize(
    ("step_bytes", "step_copies", "step_chunks"),
    [(1, 50_000, 1_000), (200, 1, 1_000), (200, 50_000, 1)],
    ids=["by bytes", "by copies", "by chunks"],
)
async def test_a_small_delivery_with_many_chunks_to_read_is_judged_in_steps_as_well(
    ledger: Ledger, step_bytes: int, step_copies: int, step_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(monkeypatch, 60)
    monkeypatch.setattr("dataharvest.stages.read_again.STEP_BYTES", step_bytes)
    monkeypatch.setattr("dataharvest.stages.read_again.STEP_COPIES", step_copies)
    monkeypatch.setattr("dataharvest.stages.read_again.STEP_CHUNKS", step_chunks)
    site, keys = Site(ledger), [f"key{number}" for number in range(12)] * 2
    site.contract = Contract(duplicates="last_wins")
    delivery_id = await site.load(content_of(keys))
    assert await steps(site, delivery_id) == 10
    found = await site.outcome(delivery_id)
    assert (found.state, found.counts, found.rows, found.lines) == ("complete", *expected(keys, "last_wins"))
    assert await ledger.judgements.forget_concluded() == 0


async def test_an_object_that_goes_away_between_two_steps_leaves_what_was_read_before(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.contract, keys = Contract(duplicates="first_wins"), keys_with_copies(2)
    delivery_id = await site.load(content_of(keys))
    await until_a_chunk_is_read_again(site, delivery_id)
    readings = "SELECT chunk_index FROM judgement_reading WHERE delivery_id = $1 AND is_read"
    read_before = await database_of(site).rows(readings, delivery_id)
    monkeypatch.setattr(site.objects, "read", gone)
    await site.judge.judge(message_of(delivery_id))
    assert await has_begun_to_remove(site, delivery_id)
    monkeypatch.undo()
    assert set(await database_of(site).rows(readings, delivery_id)) <= set(read_before), "it is not read again any more"
    await steps(site, delivery_id)
    found = await site.outcome(delivery_id)
    read, persisted, quarantined, duplicate = found.counts
    assert (found.state, read) == ("complete", persisted + quarantined + duplicate)
    assert 0 < len([lines for lines in found.lines.values() if lines]) < len(found.lines)
    assert len(found.rows) == persisted == len({row.split()[0] for row in found.rows})
    assert set(found.rows) < set(expected(keys, "first_wins")[1])
    assert sum(float(row.split()[1]) for row in found.rows) == float(found.sums["amount"])


async def gone(source: ObjectVersion, *, start: int = 0, part_bytes: int = 0) -> AsyncIterator[bytes]:
    raise ObjectTrouble("there is none", code=404)
    yield b""


async def test_rows_that_are_missing_where_copies_were_found_hold_the_set_up(site: Site) -> None:
    delivery_id = await site.load(content_of(keys_with_copies(3)))
    await until_a_chunk_is_read_again(site, delivery_id)
    await database_of(site).run("DELETE FROM row_transactions WHERE ctid = (SELECT min(row_place) FROM judgement_copy)")
    await steps(site, delivery_id)
    assert (await site.outcome(delivery_id)).state == "judging"
    await breaks(site, delivery_id, match="rows are there")


async def breaks(site: Site, delivery_id: int, *, match: str) -> None:
    """The next step finds that the delivery does not add up."""
    with pytest.raises(ConservationBroken, match=match):
        async with site.ledger.judgements.open(delivery_id) as judgement:
            assert judgement is not None and await judgement.count_next() and await judgement.weigh()
            assert await judgement.find_duplicates("reject") == []
            assert await judgement.remove_next()
            await judgement.complete()
