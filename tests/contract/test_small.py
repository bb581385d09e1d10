"""What is small is begun, planned and sealed by one statement each: only once, only when all of it is there, and no two ways."""

import asyncio
from dataclasses import replace

import pytest

from dataharvest.deliveries import Lease, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.stages.judge_at_once import JudgeAtOnce
from tests.contract.ledgers import ACCOUNTS, DAY, FILES, POSITION, Ledger, chunks_of, decisions_of, sealing_of, someone_waits

_WHOLE = 1 << 20
RECORDS = len(ACCOUNTS.splitlines()) - 1
KEY = SetKey("acme", DAY)


async def sealed(ledger: Ledger, *, content: bytes = ACCOUNTS, is_stored: bool = True) -> Lease:
    """A delivery of one chunk."""
    lease = await ledger.lease("acme")
    [(metadata, checked)] = chunks_of(lease, content, chunk_bytes=_WHOLE)
    sealing = replace(sealing_of(content, lease=lease), chunk_count=1)
    assert await ledger.deliveries.seal(lease, sealing, sent_offsets={0: 1})
    if is_stored:
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    return lease


async def test_a_small_delivery_is_begun_once_with_what_its_chunk_holds(ledger: Ledger) -> None:
    lease = await sealed(ledger)
    assert await ledger.judgements.begin_small(lease.delivery_id, at_most=RECORDS)
    assert not await ledger.judgements.begin_small(lease.delivery_id, at_most=RECORDS)
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    [message] = await ledger.judgements.unsent(KEY)
    assert message.delivery_id == lease.delivery_id
    assert await ledger.judge(lease.delivery_id) == "complete"
    async with ledger.sets.locked(KEY) as locked:
        [totals] = (await locked.totals([lease.delivery_id])).values()
    assert totals.records == RECORDS


async def test_what_is_not_small_or_not_there_is_not_begun(ledger: Ledger) -> None:
    lease = await sealed(ledger, is_stored=False)
    assert not await ledger.judgements.begin_small(lease.delivery_id, at_most=RECORDS)
    [(metadata, checked)] = chunks_of(lease, ACCOUNTS, chunk_bytes=_WHOLE)
    await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert not await ledger.judgements.begin_small(lease.delivery_id, at_most=RECORDS - 1)
    assert not await ledger.judgements.begin_small(4711, at_most=RECORDS)
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"


async def test_a_delivery_of_two_chunks_is_not_small(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert len(await ledger.store(lease, ACCOUNTS)) > 1
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert not await ledger.judgements.begin_small(lease.delivery_id, at_most=_WHOLE)
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"


async def test_a_chunk_that_is_not_the_whole_content_is_not_begun_and_holds_the_delivery_up(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    [(metadata, checked)] = chunks_of(lease, ACCOUNTS, chunk_bytes=_WHOLE)
    short = replace(sealing_of(ACCOUNTS, lease=lease), chunk_count=1, content_end=len(ACCOUNTS) + 1)
    assert await ledger.deliveries.seal(lease, short)
    await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert not await ledger.judgements.begin_small(lease.delivery_id, at_most=_WHOLE)
    assert await ledger.judgements.begin(lease.delivery_id) == "broken"


async def test_a_small_delivery_whose_rows_are_not_all_there_is_left_to_its_message(real_ledger: Ledger) -> None:
    lease = await sealed(real_ledger)
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        await connection.execute("DELETE FROM row_accounts WHERE delivery_id = $1", lease.delivery_id)
    at_once = JudgeAtOnce(judgements=real_ledger.judgements, decisions=decisions_of(real_ledger), most_records=_WHOLE)
    assert await at_once.judge(KEY, lease.delivery_id) == "judging"
    assert await real_ledger.judgements.unsent(KEY) != []
    assert await at_once.judge(KEY, lease.delivery_id) is None


async def test_a_small_delivery_is_begun_by_one_of_two(real_ledger: Ledger) -> None:
    lease = await sealed(real_ledger)
    begun = [real_ledger.judgements.begin_small(lease.delivery_id, at_most=_WHOLE) for _ in range(4)]
    assert sorted(await asyncio.gather(*begun)) == [False, False, False, True]


async def test_a_small_delivery_that_was_rejected_meanwhile_is_not_begun(real_ledger: Ledger) -> None:
    lease = await sealed(real_ledger)
    assert real_ledger.database is not None
    async with real_ledger.database.transaction() as connection:
        await connection.execute("UPDATE delivery SET state = 'rejected' WHERE delivery_id = $1", lease.delivery_id)
        beginning = asyncio.create_task(real_ledger.judgements.begin_small(lease.delivery_id, at_most=_WHOLE))
        await someone_waits(real_ledger.database)
    assert not await beginning


@pytest.mark.parametrize("is_pending", [True, False])
async def test_a_first_file_is_sealed_like_one_beside_others(ledger: Ledger, is_pending: bool) -> None:
    first = await sealed(ledger)
    if not is_pending:
        assert await ledger.judgements.begin_small(first.delivery_id, at_most=_WHOLE)
        assert await ledger.judge(first.delivery_id) == "complete"
    again = await ledger.lease("acme", age_s=-10)
    assert await ledger.deliveries.seal(again, replace(sealing_of(ACCOUNTS, lease=again), chunk_count=1))
    assert await ledger.state_of(again.delivery_id) == "repeat"


async def test_rules_are_planned_by_one_caller_and_done_once(ledger: Ledger) -> None:
    await ledger.version("acme", files=FILES)
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule="tax", batch=0, batch_count=1)
    assert not await ledger.work.is_done(batch)
    assert [await ledger.work.plan(ready, batch_count=1) for _ in range(2)] == [True, False]
    assert not await ledger.work.is_done(batch)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    assert await ledger.work.is_done(batch)
    # It was never sent, and nobody has to send it any more.
    assert await ledger.work.unsent(ready) == []
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == []


async def test_nothing_is_planned_where_nothing_counts(ledger: Ledger) -> None:
    assert not await ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax"), batch_count=1)


async def test_a_superseded_delivery_has_rows_to_be_removed_until_they_are(ledger: Ledger) -> None:
    old = await ledger.complete("acme", "accounts", ACCOUNTS, age_s=20)
    new = await ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n", age_s=10)
    async with ledger.sets.locked(KEY) as locked:
        assert not (await locked.view()).has_unneeded
        await locked.create_version(1, {"accounts": new}, waived=FILES.keys() - {"accounts"})
        assert (await locked.view()).has_unneeded
    assert await ledger.removals.due(KEY) == [old]
    assert await ledger.removals.remove(old)
    async with ledger.sets.locked(KEY) as locked:
        assert not (await locked.view()).has_unneeded


async def test_a_registration_waits_for_a_decision_about_its_set(real_ledger: Ledger) -> None:
    await real_ledger.version("acme", files=FILES)
    assert real_ledger.database is not None
    async with real_ledger.sets.locked(KEY) as locked:
        registering = asyncio.create_task(real_ledger.lease("acme", age_s=-10))
        await someone_waits(real_ledger.database)
        assert len((await locked.view()).deliveries) == len(FILES)
    assert (await registering).delivery_id


async def test_a_first_file_that_waits_for_its_set_is_sealed_once_and_by_its_lease_only(real_ledger: Ledger) -> None:
    lease = await real_ledger.lease("acme")
    sealing = replace(sealing_of(ACCOUNTS, lease=lease), chunk_count=1)
    assert real_ledger.database is not None
    async with real_ledger.sets.locked(KEY):
        sealings = [asyncio.create_task(real_ledger.deliveries.seal(lease, sealing)) for _ in range(2)]
        lost = asyncio.create_task(real_ledger.deliveries.seal(replace(lease, epoch=lease.epoch + 1), sealing))
        await someone_waits(real_ledger.database)
    assert sorted([await one for one in sealings]) == [False, True]
    assert not await lost
