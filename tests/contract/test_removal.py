"""What removing promises: rows go once no version needs them, the ledger and the answer to late chunks stay."""

from collections.abc import Mapping

import pytest

from dataharvest.deliveries import ChunkOutcome, Lease, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.rulebook import all_rules
from tests.contract.ledgers import ACCOUNTS, CLIENTS, DAY, POSITION, Ledger, chunks_of, sealing_of

KEY = SetKey("acme", DAY)
OTHER_ACCOUNTS = ACCOUNTS + b"3,0014,1,EUR,0\n"


async def make_version(ledger: Ledger, number: int, deliveries: Mapping[str, int]) -> None:
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(number, deliveries)


async def test_rows_of_a_superseded_delivery_are_removed_once(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    assert await ledger.removals.due() == []
    corrected = await ledger.complete("acme", "accounts", OTHER_ACCOUNTS)
    await make_version(ledger, 2, {**first, "accounts": corrected})
    assert await ledger.removals.due() == await ledger.removals.due(KEY) == [first["accounts"]]
    assert await ledger.removals.due(SetKey("zen", DAY)) == []
    assert await ledger.removals.remove(first["accounts"])
    assert not await ledger.removals.remove(first["accounts"])
    assert await ledger.removals.due() == []
    assert await ledger.deliveries.stored_chunk_count(first["accounts"]) > 0


async def test_what_an_open_version_needs_is_kept_until_it_is_published(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    await begin_to_publish(ledger, 1)
    corrected = await ledger.complete("acme", "accounts", OTHER_ACCOUNTS)
    await make_version(ledger, 2, {**first, "accounts": corrected})
    assert await ledger.removals.due() == []
    assert not await ledger.removals.remove(first["accounts"])
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_published(1)
    assert await ledger.removals.due() == [first["accounts"]]


async def test_what_counts_is_never_removed(ledger: Ledger) -> None:
    complete = await ledger.complete("acme", "clients", CLIENTS)
    assert not await ledger.removals.remove(complete)
    assert await ledger.removals.due() == []


async def test_a_late_chunk_of_a_removed_delivery_stores_nothing(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    lease = await ledger.lease("acme")
    chunks = await ledger.store(lease, OTHER_ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(OTHER_ACCOUNTS, lease=lease))
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    assert await ledger.judge(lease.delivery_id) == "complete"
    await make_version(ledger, 2, {**first, "accounts": lease.delivery_id})
    again = await ledger.complete("acme", "accounts", ACCOUNTS, age_s=-1)
    await make_version(ledger, 3, {**first, "accounts": again})
    for delivery_id in await ledger.removals.due():
        assert await ledger.removals.remove(delivery_id)
    for metadata, checked in chunks:
        assert await ledger.chunks.persist(metadata, checked, position=POSITION) is ChunkOutcome.SEEN
        beyond = metadata.model_copy(update={"index": 99})
        assert await ledger.chunks.persist(beyond, checked, position=POSITION) is ChunkOutcome.NOT_ACCEPTED
    assert len(chunks_of(lease, OTHER_ACCOUNTS)) == await ledger.deliveries.stored_chunk_count(lease.delivery_id)


async def test_a_removed_delivery_leaves_no_row_link_or_value_of_what_was_cancelled(real_ledger: Ledger) -> None:
    first = await real_ledger.version("acme")
    await real_ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule="relationship"), batch_count=1)
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule="relationship", batch=0, batch_count=1)
    async with real_ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.relate()
    corrected = await real_ledger.complete("acme", "accounts", OTHER_ACCOUNTS)
    await make_version(real_ledger, 2, {**first, "accounts": corrected})
    assert await real_ledger.removals.remove(first["accounts"])
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM link") == 0
        owners = [row[0] for row in await connection.fetch("SELECT DISTINCT delivery_id FROM row_accounts")]
        assert owners == [corrected]
        query = "SELECT removed_at IS NOT NULL FROM delivery WHERE delivery_id = $1"
        assert await connection.fetchval(query, first["accounts"])


async def test_a_set_is_due_when_its_newest_files_are_no_version(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    assert await ledger.sets.sets_due(settle_s=0) == []
    corrected = await ledger.complete("acme", "accounts", OTHER_ACCOUNTS)
    assert await ledger.sets.sets_due(settle_s=0) == [KEY]
    assert await ledger.sets.sets_due(settle_s=3600) == []
    await ledger.lease("acme", "clients")
    assert await ledger.sets.sets_due(settle_s=0) == []
    await make_version(ledger, 2, {**first, "accounts": corrected})
    assert await ledger.sets.sets_due(settle_s=0) == []


@pytest.mark.parametrize("state", ["sealed", "judging"])
async def test_what_is_stuck_holds_no_newer_file_up_and_is_superseded_by_its_version(ledger: Ledger, state: str) -> None:
    first = await ledger.version("acme")
    stuck = await ledger.lease("acme")
    chunks = chunks_of(stuck, OTHER_ACCOUNTS)
    for metadata, checked in chunks if state == "judging" else chunks[1:]:
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert await ledger.deliveries.seal(stuck, sealing_of(OTHER_ACCOUNTS, lease=stuck))
    assert await ledger.judgements.begin(stuck.delivery_id) == state
    for one in await ledger.deliveries.unannounced():
        await ledger.deliveries.mark_announced(one.delivery_id)
    assert await ledger.sets.sets_due(settle_s=0) == []
    corrected = await ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,2,EUR,0\n", age_s=-1)
    assert await ledger.sets.sets_due(settle_s=0) == [KEY]
    await make_version(ledger, 2, {**first, "accounts": corrected})
    assert await ledger.state_of(stuck.delivery_id) == "superseded"
    ended = [one for one in await ledger.deliveries.unannounced() if one.delivery_id == stuck.delivery_id]
    assert [one.state for one in ended] == ["superseded"]
    assert set(await ledger.removals.due()) == {first["accounts"], stuck.delivery_id}
    assert await ledger.chunks.persist(*chunks[0], position=POSITION) is not ChunkOutcome.STORED


async def test_the_same_file_again_repairs_one_whose_lost_chunks_can_not_be_read_again(ledger: Ledger) -> None:
    async def sealed(age_s: float) -> Lease:
        lease = await ledger.lease("acme", age_s=age_s)
        assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
        return lease

    lost = await sealed(9)
    repeat = await sealed(8)
    assert await ledger.state_of(repeat.delivery_id) == "repeat"
    await ledger.deliveries.note_gap(lost.delivery_id, {"rule": "object_412", "message": "replaced"})
    assert await ledger.state_of((await sealed(7)).delivery_id) == "sealed"
    await ledger.store(lost, ACCOUNTS)
    assert await ledger.judgements.begin(lost.delivery_id) == "judging"


async def test_the_view_says_how_long_ago_a_delivery_was_sealed(ledger: Ledger) -> None:
    await ledger.lease("acme")
    async with ledger.sets.locked(KEY) as locked:
        assert (await locked.view()).since_seal_s == float("inf")
    await ledger.complete("acme", "clients", CLIENTS)
    async with ledger.sets.locked(KEY) as locked:
        assert 0 <= (await locked.view()).since_seal_s < 60


async def begin_to_publish(ledger: Ledger, version: int) -> None:
    rule = next(name for name in all_rules() if name.startswith("outbound."))
    await ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=version, rule=rule), batch_count=1)
    batch = Batch(tenant="acme", business_date=DAY, version=version, rule=rule, batch=0, batch_count=1)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed()
