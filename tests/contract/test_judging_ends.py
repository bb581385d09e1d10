"""The end of a judgement with copies: what is left is counted, no older worker ends it half way, what breaks is forgotten."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from dataharvest.adapters.postgres.connection import Database
from dataharvest.contracts.vocabulary import DuplicateRule
from tests.contract.ledgers import Ledger
from tests.contract.test_judgement import RULES, Site, expected
from tests.contract.test_judging_copies import (
    Disturbance,
    copies_among_others,
    double,
    double_in_other_slices,
    fail_in_it,
    half_removed,
    has_begun_to_remove,
    is_judged_as_at_once,
    keys_with_copies,
    load,
    lose_copies,
    lose_slices,
    move_rows,
    one_chunk_at_a_time,
    site,
)
from tests.contract.test_judging_slices import content_of, database_of, is_judged_as, keys_of, message_of, sliced, steps

__all__ = ["one_chunk_at_a_time", "site"]

# What a worker from before migration 0015 runs: the same statements, of which that about hashes says only how many are suspects.
OLD_LOCK = "SELECT * FROM delivery WHERE delivery_id = $1 AND state = 'judging' FOR UPDATE"
OLD_WEIGHING = """
SELECT count(*) AS count, jsonb_build_object('amount', coalesce(sum(amount), 0)::text) AS sums,
       min(ctid) AS first_place, max(ctid) AS last_place, count(*) - count(DISTINCT transaction_reference) AS suspect_count
FROM row_transactions WHERE delivery_id = $1
"""
OLD_FIND = """
WITH copy AS (
    SELECT r.ctid AS place, r.transaction_reference AS natural_key, c.chunk_index,
           count(*) OVER (PARTITION BY r.transaction_reference) AS copies
    FROM row_transactions r
    LEFT JOIN (SELECT xmin AS written_by, chunk_index FROM chunk WHERE delivery_id = $1) c ON c.written_by = r.xmin
    WHERE r.delivery_id = $1 AND r.transaction_reference IS NOT NULL)
INSERT INTO judgement_copy (delivery_id, place, natural_key, chunk_index)
SELECT $1, place, natural_key::text, chunk_index FROM copy WHERE copies > 1
"""
OLD_FORGET = """
WITH copies AS (DELETE FROM judgement_copy WHERE delivery_id = $1),
     readings AS (DELETE FROM judgement_reading WHERE delivery_id = $1),
     named AS (DELETE FROM judgement_named WHERE delivery_id = $1)
DELETE FROM judgement_slice WHERE delivery_id = $1
"""
OLD_COMPLETE = """
UPDATE delivery d
SET state = CASE WHEN EXISTS (
        SELECT FROM delivery newer
        WHERE (newer.tenant, newer.business_date, newer.entity) = (d.tenant, d.business_date, d.entity)
          AND newer.state = 'complete'
          AND (newer.last_modified, newer.object_key, newer.delivery_id) > (d.last_modified, d.object_key, d.delivery_id)
    ) THEN 'superseded' ELSE 'complete' END,
    completed_at = clock_timestamp(), failure = NULL, record_count = $2, persisted_count = $3, quarantined_count = $4,
    duplicate_count = $5, accepted_count = $6, sums = $7, first_block = $8, last_block = $9
WHERE d.delivery_id = $1
RETURNING d.state
"""
COUNTS = ("record_count", "persisted_count", "quarantined_count", "duplicate_count", "accepted_count")


async def judged_by_an_old_worker(database: Database, delivery_id: int) -> None:
    """What a worker from before 0015 does with a delivery of which it has no slices that are whole."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(OLD_LOCK, delivery_id)
        found = await connection.fetchrow(OLD_WEIGHING, delivery_id)
        assert row is not None and found is not None
        assert found["count"] == row["persisted_count"], "it has nothing against these rows"
        if found["suspect_count"]:
            await connection.execute(OLD_FIND, delivery_id)
        await connection.execute(OLD_FORGET, delivery_id)
        blocks = found["first_place"][0], found["last_place"][0]
        await connection.fetchval(OLD_COMPLETE, delivery_id, *(row[name] for name in COUNTS), found["sums"], *blocks)


async def first_copies_removed(site: Site) -> tuple[int, list[str]]:
    """A delivery of which the first copy of each key is removed, and the other is not: none occurs twice any more."""
    keys = keys_of(twice=40)
    delivery_id = await site.load(content_of(keys))
    doubled = "SELECT FROM row_transactions WHERE delivery_id = $1 GROUP BY transaction_reference HAVING count(*) > 1"
    while await database_of(site).rows(doubled, delivery_id):
        await site.judge.judge(message_of(delivery_id))
    assert await has_begun_to_remove(site, delivery_id)
    return delivery_id, keys


async def test_a_worker_of_an_older_version_does_not_complete_what_looks_sound_with_copies_left(site: Site) -> None:
    delivery_id, keys = await first_copies_removed(site)
    with pytest.raises(asyncpg.RaiseError, match="are still being removed"):
        await judged_by_an_old_worker(database_of(site).database, delivery_id)
    await steps(site, delivery_id)
    await is_judged_as(site, delivery_id, keys)


async def test_a_worker_of_an_older_version_that_finds_copies_ends_and_changes_nothing(site: Site) -> None:
    delivery_id = await half_removed(site)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await judged_by_an_old_worker(database_of(site).database, delivery_id)
    await steps(site, delivery_id)
    assert (await site.outcome(delivery_id)).counts == expected(keys_with_copies(1), "reject")[0]


REMOVED = """
DELETE FROM row_transactions WHERE ctid = (SELECT min(ctid) FROM row_transactions WHERE delivery_id = $1 AND keyword IS NOT NULL)
"""
ADDED = """
INSERT INTO row_transactions (delivery_id, record_id, account_number, transaction_reference, amount, keyword)
SELECT $1, 1, 'a', 'surplus', 1234567, 'TAX'
"""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([REMOVED], r"\d+ rows are there, \d+ are to be left"),
        ([ADDED], r"\d+ rows are there, \d+ are to be left"),
        ([REMOVED, ADDED], r"add up to amount \d+\.0000, not to amount \d+\.0000"),
    ],
    ids=["a row too few", "a row too many", "another row"],
)
async def test_rows_that_are_not_what_copies_were_to_leave_hold_the_set_up(site: Site, changes: list[str], said: str) -> None:
    delivery_id = await half_removed(site)
    for one in changes:
        await database_of(site).run(one.replace("$1", str(delivery_id)))
    await steps(site, delivery_id)
    assert re.search(said, await what_is_broken(site, delivery_id))
    # Somebody sends its message again: it is found once more, and nothing has changed.
    await site.judge.judge(message_of(delivery_id))
    assert re.search(said, await what_is_broken(site, delivery_id))


async def what_is_broken(site: Site, delivery_id: int) -> str:
    """What is said of a delivery that does not add up and holds its set up."""
    query = "SELECT state, failure FROM delivery WHERE delivery_id = $1"
    [[state, failure]] = await database_of(site).rows(query, delivery_id)
    assert (state, failure["rule"]) == ("judging", "conservation")
    return str(failure["message"])


@pytest.fixture
async def greedy_removal(real_ledger: Ledger) -> AsyncIterator[None]:
    """Whoever deletes rows of transactions deletes one more."""
    assert real_ledger.database is not None
    one_more = "DELETE FROM row_transactions WHERE transaction_reference = 'key00001'; RETURN NULL;"
    async with real_ledger.database.connection() as connection:
        await connection.execute(f"CREATE FUNCTION one_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {one_more} END $$")
        await connection.execute(
            "CREATE TRIGGER greedy AFTER DELETE ON row_transactions WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION one_more()"
        )
    yield
    async with real_ledger.database.connection() as connection:
        await connection.execute("DROP FUNCTION one_more CASCADE")


async def test_what_a_removal_in_the_only_step_takes_away_too_much_holds_the_set_up(
    real_ledger: Ledger, greedy_removal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataharvest.stages.read_again.STEP_BYTES", 1 << 20)
    site = Site(real_ledger)
    delivery_id = await site.load(content_of([*keys_of(20), "key00007"]))
    assert await steps(site, delivery_id) == 1
    assert await what_is_broken(site, delivery_id) == "18 rows are there, 19 are to be left without copies"
    assert (await site.outcome(delivery_id)).counts[:2] == (21, 21), "nothing of the step is kept"


async def is_being_counted(site: Site, delivery_id: int) -> bool:
    """Whether all copies are removed and some of what is left is counted."""
    counted = (
        "SELECT FROM judgement_decision d JOIN judgement_slice USING (delivery_id) WHERE delivery_id = $1 AND are_copies_settled"
    )
    return bool(await database_of(site).rows(counted, delivery_id))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("disturb", [move_rows, lose_slices, fail_in_it, double, double_in_other_slices])
async def test_whatever_comes_while_it_is_counted_what_is_left_the_verdict_is_that_of_one_pass(
    site: Site, rule: DuplicateRule, disturb: Disturbance
) -> None:
    keys, at_once = await copies_among_others(site, rule)
    delivery_id = await load(site, keys, number=1)
    while not await is_being_counted(site, delivery_id):
        await site.judge.judge(message_of(delivery_id))
    await disturb(site, delivery_id)
    await steps(site, delivery_id)
    await is_judged_as_at_once(site, delivery_id, at_once)


async def test_slices_of_what_is_left_that_somebody_takes_away_have_the_whole_counted(site: Site) -> None:
    keys = keys_with_copies(1)
    delivery_id = await site.load(content_of(keys))
    slices = database_of(site).slices
    while not await is_being_counted(site, delivery_id) or len(await slices(delivery_id)) < 2:
        await site.judge.judge(message_of(delivery_id))
    first = "(SELECT min(first_block) FROM judgement_slice)"
    await database_of(site).run(f"DELETE FROM judgement_slice WHERE first_block = {first}")
    await steps(site, delivery_id)
    assert (await site.outcome(delivery_id)).counts == expected(keys, "reject")[0]


async def test_what_is_kept_of_a_delivery_that_breaks_in_the_middle_goes_once_a_newer_one_has_replaced_it(site: Site) -> None:
    delivery_id = await half_removed(site)
    await lose_copies(site, delivery_id)
    await steps(site, delivery_id)
    assert await what_is_broken(site, delivery_id)
    kept = await database_of(site).kept(delivery_id)
    assert await site.ledger.judgements.forget_concluded() == 0, "it may still be replayed"
    assert await database_of(site).kept(delivery_id) == kept > 0
    keys = keys_of()
    newer = await site.load(content_of(keys), name="b/transactions_20261123.csv")
    await steps(site, newer)
    async with site.ledger.judgements.open(delivery_id) as judgement:
        assert judgement is not None
        assert await site.ledger.judgements.forget_concluded() == 0, "somebody goes on with it"
    assert await database_of(site).kept(delivery_id) == kept
    assert await site.ledger.judgements.forget_concluded() == 1
    assert await database_of(site).kept(delivery_id) == 0
    assert await what_is_broken(site, delivery_id), "the fault stays to be looked at"
    await steps(site, delivery_id)
    assert await site.ledger.state_of(delivery_id) in ("judging", "superseded"), "it never counts"
    await is_judged_as(site, newer, keys)


async def test_a_slice_of_a_delivery_that_does_not_add_up_is_kept_until_a_newer_one_counts(ledger: Ledger) -> None:
    site = Site(replace(ledger, judgements=sliced(ledger)))
    delivery_id = await site.load(content_of(keys_of()))
    await site.judge.judge(message_of(delivery_id))
    await site.ledger.judgements.note_broken(delivery_id, "as the test wants it")
    assert await site.ledger.judgements.forget_concluded() == 0
    newer = await site.load(content_of(keys_of(90)), name="b/transactions_20261123.csv")
    assert await site.ledger.judgements.forget_concluded() == 0
    await steps(site, newer)
    assert await site.ledger.judgements.forget_concluded() == 1
    assert await site.ledger.judgements.forget_concluded() == 0
    assert await site.ledger.state_of(delivery_id) == "judging"
