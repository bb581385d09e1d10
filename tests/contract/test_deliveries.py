"""What deliveries promise, from registration to completion, in memory and in PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.deliveries import ChunkOutcome, Lease, SetKey
from dataharvest.errors import Rejected
from dataharvest.rulebook import all_rules, required_entities
from tests.contract.ledgers import ACCOUNTS, CHUNK_BYTES, DAY, POSITION, Ledger, chunks_of, sealing_of, source_of, stale

REASON = Rejected("not text", rule="not_text", line=1)


async def until_leased(ledger: Ledger) -> Lease:
    """A lease that had to lapse first."""
    async with asyncio.timeout(5):
        while True:
            if lease := await ledger.deliveries.lease():
                return lease
            await asyncio.sleep(0.01)


async def test_the_same_content_of_a_key_is_registered_once(ledger: Ledger) -> None:
    source = source_of("acme", "accounts")
    assert await ledger.register("acme", source=source) is not None
    assert await ledger.register("acme", source=source) is None
    assert await ledger.deliveries.register_rejected(source, REASON) is None


async def test_a_content_that_came_back_within_one_second_is_registered_once_more(ledger: Ledger) -> None:
    first = replace(source_of("acme", "accounts"), version_id=None)
    other = replace(first, etag='"other"')
    one = await ledger.register("acme", source=first)
    assert await ledger.deliveries.overtaken_by(first) is None
    two = await ledger.register("acme", source=other)
    assert await ledger.deliveries.overtaken_by(other) is None
    assert await ledger.deliveries.overtaken_by(replace(first, version_id="v1")) is None
    assert await ledger.deliveries.overtaken_by(replace(first, last_modified=first.last_modified - timedelta(seconds=1))) is None
    assert await ledger.register("acme", source=first) is None
    assert await ledger.deliveries.overtaken_by(first) == two
    assert two is not None
    for after, expected in ((one, False), (two, True), (two, False)):
        assert (await ledger.register("acme", source=first, after=after) is not None) == expected
    assert await ledger.deliveries.known(first.bucket, [first.key]) == {(first.key, first.etag)}
    assert await ledger.deliveries.overtaken_by(first) is None
    again = await ledger.deliveries.overtaken_by(other)
    assert await ledger.register("acme", source=other, after=again) is not None
    again = await ledger.deliveries.overtaken_by(first)
    assert await ledger.register("acme", source=first, after=again) is not None


async def test_two_workers_that_see_the_same_event_register_once(ledger: Ledger) -> None:
    source = source_of("acme", "accounts")
    both = await asyncio.gather(*(ledger.register("acme", source=source) for _ in range(2)))
    assert sorted(one is None for one in both) == [False, True]


async def test_a_delivery_older_than_one_that_was_read_is_superseded_on_arrival(ledger: Ledger) -> None:
    newest = await ledger.lease("acme", age_s=10)
    assert await ledger.deliveries.seal(newest, sealing_of(ACCOUNTS, lease=newest))
    older = await ledger.register("acme", age_s=11)
    assert older is not None
    assert await ledger.state_of(older) == "superseded"
    assert await ledger.state_of(newest.delivery_id) == "sealed"


async def test_an_older_delivery_counts_when_the_newer_one_turns_out_to_be_no_file(ledger: Ledger) -> None:
    newer = await ledger.lease("acme", age_s=10)
    older = await ledger.register("acme", age_s=11)
    assert older is not None
    assert await ledger.state_of(older) == "registered"
    assert await ledger.deliveries.reject(newer.delivery_id, REASON)

    lease = await ledger.deliveries.lease()
    assert lease is not None
    await ledger.store(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert await ledger.judgements.begin(older) == "judging"
    assert await ledger.judge(older) == "complete"


async def test_that_a_file_was_rejected_is_left_to_be_told_once_and_says_nothing_of_its_content(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert await ledger.deliveries.reject(lease.delivery_id, Rejected("header is Frida,Müller", rule="header", line=1))
    assert not await ledger.deliveries.reject(lease.delivery_id, REASON)

    async with ledger.notifications.to_send() as turn:
        [told] = turn.notifications

    assert (told.type, told.tenant, told.business_date, told.version) == ("set_blocked", "acme", DAY, None)
    reason = f"the file of accounts, delivery {lease.delivery_id}, was rejected by rule header; `dataharvest status` says why."
    assert told.reason == reason


async def test_a_rejected_delivery_supersedes_nothing(ledger: Ledger) -> None:
    rejected = await ledger.lease("acme", age_s=10)
    assert await ledger.deliveries.reject(rejected.delivery_id, REASON)
    older = await ledger.register("acme", age_s=11)
    assert older is not None
    assert await ledger.state_of(older) == "registered"


async def test_a_repeat_keeps_older_deliveries_away_as_the_content_it_repeats_would(ledger: Ledger) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=20)
    again = await ledger.lease("acme", age_s=10)
    assert await ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    between = await ledger.register("acme", age_s=15)
    assert between is not None
    assert [await ledger.state_of(one) for one in (again.delivery_id, between)] == ["repeat", "superseded"]


@pytest.mark.parametrize("other", [("zen", "accounts"), ("acme", "clients")])
async def test_other_tenants_and_entities_do_not_supersede(ledger: Ledger, other: tuple[str, str]) -> None:
    await ledger.register(*other, age_s=0)
    older = await ledger.register("acme", "accounts", age_s=100)
    assert older is not None
    assert await ledger.state_of(older) == "registered"


async def test_a_delivery_that_can_not_be_read_is_kept_and_known(ledger: Ledger) -> None:
    source = source_of("acme", "nonsense")
    delivery_id = await ledger.deliveries.register_rejected(source, Rejected("?", rule="unknown_key_pattern", tenant="acme"))
    assert delivery_id is not None
    assert await ledger.state_of(delivery_id) == "rejected"
    assert await ledger.deliveries.lease() is None
    assert await ledger.deliveries.unannounced() == []
    assert await ledger.deliveries.known("contract", [source.key, "acme/other.csv"]) == {(source.key, source.etag)}
    assert await ledger.deliveries.known("elsewhere", [source.key]) == set()
    async with ledger.notifications.to_send() as turn:
        [told] = turn.notifications
    assert (told.type, told.tenant, told.business_date, told.version, told.reason) == ("file_rejected", "acme", None, None, "?")


async def test_of_a_file_in_nobody_s_folder_nobody_is_told(ledger: Ledger) -> None:
    delivery_id = await ledger.deliveries.register_rejected(source_of("a b", "nonsense"), Rejected("?", rule="tenant_name"))
    assert delivery_id is not None
    async with ledger.notifications.to_send() as turn:
        assert turn.notifications == []


async def test_only_the_newest_content_of_a_key_is_known(ledger: Ledger) -> None:
    older, newer = (source_of("acme", "accounts", age_s=age_s) for age_s in (10, 5))
    for source in (older, newer):
        await ledger.register("acme", source=source)
    assert await ledger.deliveries.known("contract", [older.key]) == {(newer.key, newer.etag)}


async def test_a_lease_says_what_to_read_and_how_to_cut(ledger: Ledger) -> None:
    source = source_of("acme", "accounts")
    delivery_id = await ledger.register("acme", source=source)
    lease = await ledger.deliveries.lease()
    assert lease is not None
    assert (lease.delivery_id, lease.tenant, lease.business_date, lease.entity) == (delivery_id, "acme", DAY, "accounts")
    assert (lease.source, lease.chunk_bytes) == (source, CHUNK_BYTES)


async def test_a_leased_delivery_is_leased_to_nobody_else(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert await ledger.deliveries.lease() is None
    assert await ledger.deliveries.renew(lease)


async def test_two_splitters_never_get_the_same_delivery(ledger: Ledger) -> None:
    for _ in range(3):
        await ledger.register("acme")
    leases = await asyncio.gather(*(ledger.deliveries.lease() for _ in range(6)))
    ids = [lease.delivery_id for lease in leases if lease]
    assert len(ids) == len(set(ids)) <= 3
    while lease := await ledger.deliveries.lease():
        ids.append(lease.delivery_id)
    assert len(set(ids)) == len(ids) == 3


async def test_a_released_delivery_is_leased_again_with_a_higher_epoch(ledger: Ledger) -> None:
    first = await ledger.lease("acme")
    await ledger.deliveries.release(first)
    second = await ledger.deliveries.lease()
    assert second is not None
    assert (second.delivery_id, second.epoch) == (first.delivery_id, first.epoch + 1)


async def test_a_lapsed_lease_goes_to_the_next_and_fences_off_the_first(ledger: Ledger) -> None:
    await ledger.register("acme")
    first = await ledger.hasty_deliveries.lease()
    assert first is not None
    second = await until_leased(ledger)
    assert second.epoch == first.epoch + 1
    assert not await ledger.deliveries.renew(first)
    assert not await ledger.deliveries.seal(first, sealing_of(ACCOUNTS, lease=first))
    await ledger.deliveries.release(first)
    await ledger.deliveries.put_aside(first, {"rule": "object_403"})
    assert await ledger.state_of(first.delivery_id) == "splitting"
    assert await ledger.deliveries.lease() is None
    assert await ledger.deliveries.seal(second, sealing_of(ACCOUNTS, lease=second))


async def test_a_renewed_lease_does_not_lapse(ledger: Ledger) -> None:
    await ledger.register("acme")
    lease = await ledger.hasty_deliveries.lease()
    assert lease is not None
    assert await ledger.deliveries.renew(lease)
    assert await ledger.deliveries.lease() is None


async def lapsed(ledger: Ledger, *, times: int) -> Lease:
    """The lease after so many splitters of the only delivery have died."""
    for _ in range(times):
        async with asyncio.timeout(5):
            while await ledger.hasty_deliveries.lease() is None:
                await asyncio.sleep(0.01)
    return await until_leased(ledger)


async def test_splitters_that_die_over_a_delivery_without_getting_further_are_counted(ledger: Ledger) -> None:
    await ledger.register("acme")
    lease = await lapsed(ledger, times=3)
    assert (lease.crash_count, lease.is_suspect) == (3, False)


async def test_a_splitter_that_got_further_before_it_died_begins_the_count_anew(ledger: Ledger) -> None:
    await ledger.register("acme")
    second = await lapsed(ledger, times=1)
    await ledger.deliveries.release(second)
    third = await ledger.hasty_deliveries.lease()
    assert third is not None and third.crash_count == 1
    await ledger.chunks.persist(*chunks_of(third, ACCOUNTS)[0], position=POSITION)
    fourth = await until_leased(ledger)
    assert (fourth.crash_count, fourth.chunks_at_lease) == (0, 1)


async def test_a_lease_that_is_given_back_is_no_death(ledger: Ledger) -> None:
    await ledger.register("acme")
    for _ in range(5):
        lease = await ledger.deliveries.lease()
        assert lease is not None and lease.crash_count == 0
        await ledger.deliveries.release(lease)


async def test_a_delivery_on_its_last_trial_goes_only_to_a_splitter_that_reads_nothing_else_and_first(ledger: Ledger) -> None:
    await ledger.register("acme")
    suspect = await lapsed(ledger, times=2)
    assert suspect.is_suspect
    await ledger.deliveries.release(suspect)
    other = await ledger.register("zen")
    busy = await ledger.deliveries.lease(alone=False)
    assert busy is not None and busy.delivery_id == other
    assert await ledger.deliveries.lease(alone=False) is None
    await ledger.deliveries.release(busy)
    first = await ledger.deliveries.lease(alone=True)
    assert first is not None and first.delivery_id == suspect.delivery_id


async def test_a_splitter_that_lost_its_lease_and_lives_is_no_death(real_ledger: Ledger, ledger_url: str) -> None:
    await real_ledger.register("acme")
    living = Database(ledger_url, pool_size=1, application_name="dataharvest slow")
    await living.open()
    slow = PostgresDeliveries(living, owner="slow", chunk_bytes=CHUNK_BYTES, lease_s=0.001)
    assert await slow.lease() is not None
    assert (await until_leased(real_ledger)).crash_count == 0
    await living.close()


async def test_tenants_are_served_in_turn(ledger: Ledger) -> None:
    for tenant in ("huge", "huge", "huge", "small", "tiny"):
        await ledger.register(tenant)
    order = [lease.tenant for _ in range(5) if (lease := await ledger.deliveries.lease())]
    assert order == ["huge", "small", "tiny", "huge", "huge"]


async def test_a_delivery_that_waits_for_its_object_is_put_aside(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    await ledger.deliveries.put_aside(lease, {"rule": "object_403", "message": "forbidden"})
    assert await ledger.state_of(lease.delivery_id) == "waiting"
    assert await ledger.deliveries.lease() is None


async def test_a_newer_delivery_relieves_one_that_waits_once_it_is_read(ledger: Ledger) -> None:
    lease = await ledger.lease("acme", age_s=10)
    await ledger.deliveries.put_aside(lease, {"rule": "object_403", "message": "forbidden"})
    newer = await ledger.lease("acme", age_s=9)
    assert await ledger.state_of(lease.delivery_id) == "waiting"
    assert await ledger.deliveries.seal(newer, sealing_of(ACCOUNTS, lease=newer))
    assert await ledger.state_of(lease.delivery_id) == "superseded"


async def test_an_older_delivery_does_not_relieve_a_newer_one_that_waits(ledger: Ledger) -> None:
    lease = await ledger.lease("acme", age_s=10)
    await ledger.deliveries.put_aside(lease, {"rule": "object_403", "message": "forbidden"})
    older = await ledger.lease("acme", age_s=11)
    assert await ledger.deliveries.seal(older, sealing_of(ACCOUNTS, lease=older))
    assert await ledger.state_of(lease.delivery_id) == "waiting"


async def test_a_delivery_that_can_not_be_read_does_not_wait_once_a_newer_one_is_read(ledger: Ledger) -> None:
    lease = await ledger.lease("acme", age_s=10)
    newer = await ledger.lease("acme", age_s=9)
    assert await ledger.deliveries.seal(newer, sealing_of(ACCOUNTS, lease=newer))
    await ledger.deliveries.put_aside(lease, {"rule": "object_404", "message": "gone"})
    assert await ledger.state_of(lease.delivery_id) == "superseded"
    assert lease.delivery_id in [one.delivery_id for one in await ledger.deliveries.unannounced()]


async def test_nothing_is_a_repeat_while_a_newer_delivery_is_being_read(ledger: Ledger) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=20)
    again = await ledger.lease("acme", age_s=10)
    await ledger.register("acme", age_s=5)
    assert await ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    assert await ledger.state_of(again.delivery_id) == "sealed"


async def test_a_sealed_delivery_completes_only_when_every_chunk_is_stored(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    chunks = chunks_of(lease, ACCOUNTS)
    assert len(chunks) > 1
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    for number, (metadata, checked) in enumerate(chunks):
        assert await ledger.judgements.begin(lease.delivery_id) == "sealed"
        assert await ledger.chunks.persist(metadata, checked, position=POSITION) is ChunkOutcome.STORED
        assert await ledger.deliveries.stored_chunk_count(lease.delivery_id) == number + 1
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    assert await ledger.judge(lease.delivery_id) == "complete"
    assert await ledger.judgements.begin(lease.delivery_id) == "complete"
    stored = await ledger.deliveries.stored_chunks(lease.delivery_id)
    assert stored == {metadata.index: bytes.fromhex(metadata.sha256) for metadata, _ in chunks}


async def test_chunks_that_do_not_tile_the_content_hold_the_delivery_up(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    [first, second] = chunks_of(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    await ledger.chunks.persist(*first, position=POSITION)
    shifted = second[0].model_copy(update={"byte_offset": second[0].byte_offset + 1})
    await ledger.chunks.persist(shifted, second[1], position=POSITION)
    for _ in range(2):
        assert await ledger.judgements.begin(lease.delivery_id) == "broken"
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        [delivery] = (await locked.view()).deliveries
    assert (delivery.state, delivery.is_broken) == ("sealed", True)
    assert (await ledger.sets.progress(SetKey("acme", DAY), rules=())) == {"deliveries": {}, "rules": {}}


async def test_an_upload_that_does_not_add_up_has_ended_for_whoever_waits_for_it(real_ledger: Ledger) -> None:
    lease = await real_ledger.lease("acme")
    chunks = await real_ledger.store(lease, ACCOUNTS)
    short = replace(sealing_of(ACCOUNTS, lease=lease), content_end=len(ACCOUNTS) + 1)
    assert chunks and await real_ledger.deliveries.seal(lease, short)
    assert real_ledger.database is not None
    status = PostgresStatus(real_ledger.database, required=required_entities(), rules=list(all_rules().values()))
    [before] = (await status.uploads([lease.source])).values()
    assert await real_ledger.judgements.begin(lease.delivery_id) == "broken"
    [after] = (await status.uploads([lease.source])).values()
    assert (before.state, after.state) == ("sealed", "broken")


async def test_a_delivery_without_records_completes_without_chunks(ledger: Ledger) -> None:
    header_only = ACCOUNTS.partition(b"\n")[0] + b"\n"
    await ledger.complete("acme", "accounts", header_only)


async def test_the_newest_content_again_is_a_repeat_and_leaves_nothing(ledger: Ledger) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=20)
    again = await ledger.lease("acme", age_s=10)
    await ledger.store(again, ACCOUNTS)
    assert await ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    assert await ledger.state_of(again.delivery_id) == "repeat"
    assert await ledger.deliveries.stored_chunk_count(again.delivery_id) == 0
    [announced] = [one for one in await ledger.deliveries.unannounced() if one.delivery_id == again.delivery_id]
    assert (announced.state, announced.chunk_count) == ("repeat", None)


async def test_a_pending_content_again_is_a_repeat(ledger: Ledger) -> None:
    pending = await ledger.lease("acme", age_s=20)
    assert await ledger.deliveries.seal(pending, sealing_of(ACCOUNTS, lease=pending))
    again = await ledger.lease("acme", age_s=10)
    assert await ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    assert await ledger.state_of(again.delivery_id) == "repeat"


async def repeats_of_one(ledger: Ledger) -> list[Lease]:
    """A sealed delivery and two repeats of it, oldest first."""
    leases = []
    for age_s in (30, 20, 10):
        leases.append(await ledger.lease("acme", age_s=age_s))
        await ledger.store(leases[-1], ACCOUNTS)
        assert await ledger.deliveries.seal(leases[-1], sealing_of(ACCOUNTS, lease=leases[-1]))
        await ledger.deliveries.mark_announced(leases[-1].delivery_id)
    return leases


async def test_the_newest_repeat_of_what_is_rejected_is_split_after_all(ledger: Ledger) -> None:
    original, older, newest = await repeats_of_one(ledger)
    async with ledger.deliveries.wake_ups() as woken:
        assert await ledger.deliveries.reject(original.delivery_id, REASON)
        async with asyncio.timeout(5):
            await woken.wait()
    again = await ledger.deliveries.lease()
    assert again is not None and again.delivery_id == newest.delivery_id
    assert again.epoch > newest.epoch
    assert await ledger.deliveries.lease() is None
    await ledger.store(again, ACCOUNTS)
    assert await ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    announced = {one.delivery_id: one.state for one in await ledger.deliveries.unannounced()}
    assert announced == {original.delivery_id: "rejected", newest.delivery_id: "sealed"}
    assert await ledger.deliveries.reject(newest.delivery_id, REASON)
    third = await ledger.deliveries.lease()
    assert third is not None and third.delivery_id == older.delivery_id


async def test_nothing_becomes_a_repeat_of_what_is_being_rejected(real_ledger: Ledger) -> None:
    original = await real_ledger.lease("acme", age_s=20)
    assert await real_ledger.deliveries.seal(original, sealing_of(ACCOUNTS, lease=original))
    again = await real_ledger.lease("acme", age_s=10)
    async with real_ledger.sets.locked(SetKey("acme", DAY)):
        sealing = asyncio.create_task(real_ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again)))
        await asyncio.wait({sealing}, timeout=0.1)
        rejecting = asyncio.create_task(real_ledger.deliveries.reject(original.delivery_id, REASON))
        await asyncio.wait({rejecting}, timeout=0.1)
        assert not sealing.done() and not rejecting.done()
    assert await sealing and await rejecting
    lease = await real_ledger.deliveries.lease()
    assert lease is None or lease.delivery_id == again.delivery_id
    assert (await real_ledger.state_of(again.delivery_id)) in ("sealed", "splitting")


async def test_an_older_content_again_is_a_correction(ledger: Ledger) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=30)
    await ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n", age_s=20)
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=10)


async def test_the_same_content_of_another_tenant_is_no_repeat(ledger: Ledger) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS)
    await ledger.complete("zen", "accounts", ACCOUNTS)


async def test_a_rejected_delivery_ends_once_and_accepts_nothing_more(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    [first, second] = chunks_of(lease, ACCOUNTS)
    await ledger.chunks.persist(*first, position=POSITION)
    assert await ledger.deliveries.reject(lease.delivery_id, REASON)
    assert not await ledger.deliveries.reject(lease.delivery_id, REASON)
    assert await ledger.deliveries.stored_chunks(lease.delivery_id) == {}
    assert await ledger.chunks.persist(*second, position=POSITION) is ChunkOutcome.NOT_ACCEPTED
    assert not await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert not await ledger.deliveries.renew(lease)
    assert await ledger.deliveries.lease() is None


async def test_a_complete_delivery_is_not_rejected_any_more(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS)
    assert not await ledger.deliveries.reject(delivery_id, REASON)
    assert await ledger.state_of(delivery_id) == "complete"
    assert await ledger.deliveries.stored_chunk_count(delivery_id) > 0


async def test_a_delivery_nobody_knows_is_not_rejected_and_has_no_state(ledger: Ledger) -> None:
    assert not await ledger.deliveries.reject(4711, REASON)
    assert await ledger.judgements.begin(4711) == "unknown"


async def test_ends_are_announced_until_they_are_marked(ledger: Ledger) -> None:
    lease = await ledger.lease("acme", "clients")
    assert await ledger.deliveries.unannounced() == []
    content = b"record_id,client_reference,tax_free_allowance\n"
    assert await ledger.deliveries.seal(lease, sealing_of(content, lease=lease))
    for _ in range(2):
        [announced] = await ledger.deliveries.unannounced()
        assert (announced.tenant, announced.business_date, announced.entity) == ("acme", DAY, "clients")
        assert (announced.delivery_id, announced.state, announced.chunk_count) == (lease.delivery_id, "sealed", 0)
    await ledger.deliveries.mark_announced(lease.delivery_id)
    assert await ledger.deliveries.unannounced() == []


async def test_a_registration_wakes_who_waits(ledger: Ledger) -> None:
    async with ledger.deliveries.wake_ups() as woken:
        assert not woken.is_set()
        await ledger.register("acme")
        async with asyncio.timeout(5):
            await woken.wait()


async def test_a_rejected_delivery_leaves_no_row_behind(real_ledger: Ledger) -> None:
    lease = await real_ledger.lease("acme")
    await real_ledger.store(lease, ACCOUNTS + b"3,0014,NaN,EUR,0\n")
    assert await rows_left(real_ledger, lease.delivery_id) == {"row_accounts": 2, "quarantine": 1, "chunk": 3}
    assert await real_ledger.deliveries.reject(lease.delivery_id, REASON)
    assert await rows_left(real_ledger, lease.delivery_id) == {"row_accounts": 0, "quarantine": 0, "chunk": 0}


async def test_a_repeat_leaves_no_row_behind_and_says_of_what(real_ledger: Ledger) -> None:
    first = await real_ledger.complete("acme", "accounts", ACCOUNTS, age_s=9)
    again = await real_ledger.lease("acme")
    await real_ledger.store(again, ACCOUNTS)
    assert await real_ledger.deliveries.seal(again, sealing_of(ACCOUNTS, lease=again))
    assert await rows_left(real_ledger, again.delivery_id) == {"row_accounts": 0, "quarantine": 0, "chunk": 0}
    assert real_ledger.database is not None
    async with real_ledger.database.connection() as connection:
        query = "SELECT repeat_of FROM delivery WHERE delivery_id = $1"
        assert await connection.fetchval(query, again.delivery_id) == first


async def test_sealing_waits_for_whoever_decides_about_the_set(real_ledger: Ledger) -> None:
    lease = await real_ledger.lease("acme")
    async with real_ledger.sets.locked(SetKey("acme", DAY)):
        sealing = asyncio.create_task(real_ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease)))
        await asyncio.wait({sealing}, timeout=0.1)
        assert not sealing.done()
    assert await sealing


async def test_an_old_epoch_is_refused(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert not await ledger.deliveries.renew(stale(lease))
    assert not await ledger.deliveries.seal(stale(lease), sealing_of(ACCOUNTS, lease=lease))


async def rows_left(ledger: Ledger, delivery_id: int) -> dict[str, int]:
    """Number of rows of a delivery by table."""
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        return {
            table: await connection.fetchval(f"SELECT count(*) FROM {table} WHERE delivery_id = $1", delivery_id)
            for table in ("row_accounts", "quarantine", "chunk")
        }


async def test_a_large_file_is_cut_into_chunks_twice_as_long(ledger: Ledger) -> None:
    await ledger.register("acme", source=replace(source_of("acme", "accounts"), size_bytes=64 << 20))
    lease = await ledger.deliveries.lease()
    assert lease is not None
    assert lease.chunk_bytes == 2 * CHUNK_BYTES
