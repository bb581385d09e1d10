"""What the quarantine promises, in memory and in PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.quarantine import Entry, EntryCount, Selection, Signature
from dataharvest.repairs import Changes, EntryChange
from dataharvest.rules.records import CheckedChunk, check_chunk
from dataharvest.rules.repairs import Place
from tests.contract.ledgers import ACCOUNTS, DAY, FILES, POSITION, Ledger, chunks_of, sealing_of
from tests.contract.test_sets import PUBLISH, batch_of, finish, ready

KEY = SetKey("acme", DAY)
BY = Signature(who="anna", why="the bank called")
HEADER = ACCOUNTS.splitlines()[0]
COLUMNS = tuple(HEADER.decode().split(","))
BAD = b"3,0014,NaN,EUR,0"
WORSE = b"4,\xff\xfe,1,EUR,0"
EVERYTHING = Selection()


def row_of(record: bytes) -> CheckedChunk:
    return check_chunk(
        record + b"\n", entity=all_entities()["accounts"], columns=COLUMNS, first_line=1, byte_offset=0, header_raw=HEADER
    )


def fixed(entry: Entry, record: bytes, *, replaced: dict[str, Place] | None = None) -> Changes:
    row = row_of(record)
    assert row.persisted_count == 1
    change = EntryChange(
        entry=entry, state="fixed", persisted_count=1, content=record, natural_key=record.split(b",")[1].decode()
    )
    return Changes(
        entries=[change],
        copy_columns=row.copy_columns,
        rows=[(entry.chunk_index, row.copy_text)],
        replaced=replaced or {},
        action="fix",
        contract_version=0,
    )


def accepted(entries: Sequence[Entry]) -> Changes:
    changes = [EntryChange(entry=one, state="accepted", accepted_count=one.record_count) for one in entries]
    return Changes(entries=changes, action="accept")


async def repair(ledger: Ledger, delivery_id: int, changes: Changes, *, plan: bool = False) -> int:
    async with ledger.quarantine.repair(delivery_id, plan=plan) as locked:
        return await locked.apply(changes, by=BY)


async def view(ledger: Ledger) -> tuple[int, int, dict[str, int]]:
    """The set's edition, open quarantine, and sums of the accounts in ten-thousandths."""
    async with ledger.sets.locked(KEY) as locked:
        seen = await locked.view()
        totals = await locked.totals([one.delivery_id for one in seen.deliveries])
    sums = {name: int(amount * 10_000) for name, amount in totals["accounts"].sums.items()}
    return seen.edition, sum(one.open_quarantine for one in seen.deliveries), sums


async def test_what_is_in_quarantine_is_counted_and_kept_whole(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n" + WORSE + b"\n")
    await ledger.complete("zen", "accounts", ACCOUNTS + BAD + b"\n")
    found = await ledger.quarantine.counts(Selection(tenant="acme"))
    about = EntryCount(
        tenant="acme", business_date=DAY, entity="accounts", rule="encoding", state="open", entry_count=1, record_count=1
    )
    assert found == [about, replace(about, rule="money")]
    first, second = await ledger.quarantine.entries(Selection(tenant="acme"))
    assert (first.raw, first.rule, first.line, first.column, first.delivery_id) == (BAD, "money", 4, "cash_balance", delivery_id)
    assert (second.raw, second.rule, second.state, second.settled, second.content) == (WORSE, "encoding", "open", None, None)
    assert (ACCOUNTS + BAD)[first.byte_offset :] == BAD
    assert first.is_whole


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 3),
        (Selection(tenant="acme"), 2),
        (Selection(tenant="nobody"), 0),
        (Selection(entity="clients"), 0),
        (Selection(rule="money"), 2),
        (Selection(business_date=DAY, rule="encoding"), 1),
        (Selection(state="fixed"), 0),
        (Selection(ids=()), 0),
    ],
)
async def test_entries_are_selected(ledger: Ledger, selection: Selection, count: int) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n" + WORSE + b"\n")
    await ledger.complete("zen", "accounts", ACCOUNTS + BAD + b"\n")
    assert len(await ledger.quarantine.entries(selection)) == count
    assert len(await ledger.quarantine.entries(selection, limit=1)) == min(1, count)
    assert sum(one.entry_count for one in await ledger.quarantine.counts(selection)) == count


async def test_a_fix_moves_everything_together(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n")
    before = await view(ledger)
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    assert await repair(ledger, delivery_id, fixed(entry, b"3,0014,12.5,EUR,0.25")) == 1
    edition, open_count, sums = await view(ledger)
    assert (before[:2], (edition, open_count)) == ((0, 1), (1, 0))
    assert {name: sums[name] - before[2][name] for name in sums} == {"cash_balance": 125_000, "taxes_paid": 2_500}
    async with ledger.quarantine.repair(delivery_id, plan=True) as locked:
        assert await locked.stored_keys({"0012", "0014", "0015"}) == {"0012", "0014"}
        assert await locked.repaired_places({"0012", "0014"}) == {"0014": entry.place}
    [now] = await ledger.quarantine.entries(EVERYTHING)
    assert (now.state, now.natural_key, now.content, now.raw) == ("fixed", "0014", b"3,0014,12.5,EUR,0.25", BAD)
    assert now.settled is not None and now.settled.startswith("anna at ") and now.settled.endswith(" UTC (fix)")
    [line] = await ledger.quarantine.history(EVERYTHING)
    assert (line.action, line.who, line.why, line.original, line.content) == ("fix", "anna", BY.why, BAD, now.content)
    assert (line.persisted_count, line.duplicate_count, line.accepted_count) == (1, 0, 0)


async def test_accepted_records_are_counted_as_that(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n" + WORSE + b"\n")
    entries = await ledger.quarantine.entries(EVERYTHING)
    await repair(ledger, delivery_id, accepted(entries))
    assert (await view(ledger))[:2] == (1, 0)
    assert [one.state for one in await ledger.quarantine.entries(EVERYTHING)] == ["accepted", "accepted"]
    [count] = await ledger.quarantine.counts(Selection(rule="money"))
    assert (count.state, count.record_count) == ("accepted", 1)


async def test_a_row_that_another_record_replaces_is_a_duplicate_of_its_chunk(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n")
    before = await view(ledger)
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    await repair(ledger, delivery_id, fixed(entry, b"9,0013,21,EUR,1.25", replaced={"0013": Place(1, 0)}))
    assert (await view(ledger))[2]["cash_balance"] - before[2]["cash_balance"] == 10_000
    async with ledger.quarantine.repair(delivery_id, plan=True) as locked:
        assert await locked.repaired_places({"0013"}) == {"0013": entry.place}


async def test_what_was_planned_did_not_happen(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n")
    before = await view(ledger)
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    assert await repair(ledger, delivery_id, fixed(entry, b"3,0014,12.5,EUR,0.25"), plan=True) == 1
    assert await view(ledger) == before
    assert await ledger.quarantine.entries(EVERYTHING) == [entry]
    assert await ledger.quarantine.history(EVERYTHING) == []


async def test_what_fails_half_way_did_not_happen(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n")
    before = await view(ledger)
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    with pytest.raises(ZeroDivisionError):
        async with ledger.quarantine.repair(delivery_id, plan=False) as locked:
            await locked.apply(accepted([entry]), by=BY)
            raise ZeroDivisionError
    assert await view(ledger) == before
    assert await ledger.quarantine.entries(EVERYTHING) == [entry]


async def test_two_repairs_of_one_delivery_come_one_after_the_other(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS + BAD + b"\n")
    [entry] = await ledger.quarantine.entries(EVERYTHING)

    async def accept_if_open() -> bool:
        async with ledger.quarantine.repair(delivery_id, plan=False) as locked:
            [now] = (await locked.entries([entry.quarantine_id])).values()
            if now.state != "open":
                return False
            await locked.apply(accepted([now]), by=BY)
            return True

    assert sorted(await asyncio.gather(*(accept_if_open() for _ in range(3)))) == [False, False, True]
    assert len(await ledger.quarantine.history(EVERYTHING)) == 1


async def test_only_the_newest_complete_delivery_can_be_repaired(ledger: Ledger) -> None:
    made = await ledger.version("acme", files={**FILES, "accounts": ACCOUNTS + BAD + b"\n"})
    under_way = await ledger.lease("acme")
    refusals = [
        (made["accounts"], f"A newer file of accounts, delivery {under_way.delivery_id}, is being read (splitting)"),
        (under_way.delivery_id, f"Delivery {under_way.delivery_id} of accounts is splitting"),
        (987654, "Delivery 987654 is not known"),
    ]
    for delivery_id, reason in refusals:
        with pytest.raises(Rejected) as refused:
            async with ledger.quarantine.repair(delivery_id, plan=False):
                pass
        assert refused.value.rule == "not_repairable"
        assert refused.value.message.startswith(reason)


async def test_what_a_newer_file_drops_is_noted(ledger: Ledger) -> None:
    made = await ledger.version("acme", files={**FILES, "accounts": ACCOUNTS + BAD + b"\n" + WORSE + b"\n"})
    first, _ = await ledger.quarantine.entries(EVERYTHING)
    await repair(ledger, made["accounts"], accepted([first]))
    newer = await ledger.complete("acme", "accounts", ACCOUNTS)
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, {**made, "accounts": newer})
    assert await ledger.quarantine.entries(EVERYTHING) == []
    everything = Selection(with_superseded=True)
    assert len(await ledger.quarantine.entries(everything)) == 2
    kept, dropped = await ledger.quarantine.history(everything)
    assert (kept.action, dropped.action, dropped.superseded_by) == ("accept", "drop", newer)
    assert dropped.quarantine_id == first.quarantine_id
    assert dropped.why == f"delivery {newer} of accounts replaced delivery {made['accounts']}"
    assert [one.action for one in await ledger.quarantine.history(everything, limit=1)] == ["drop"]


async def test_nothing_is_repaired_while_a_version_goes_out(ledger: Ledger) -> None:
    made = await ledger.version("acme", files={**FILES, "accounts": ACCOUNTS + BAD + b"\n"})
    await ledger.work.plan(ready(PUBLISH.name), batch_count=1)
    await finish(ledger, batch_of(PUBLISH.name, 0, 1))
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    with pytest.raises(Rejected, match="Version 1 of acme's set of 2026-11-23 is being published"):
        await repair(ledger, made["accounts"], accepted([entry]))
    assert await ledger.quarantine.entries(EVERYTHING) == [entry]


async def test_a_chunk_that_comes_again_after_a_fix_changes_nothing(ledger: Ledger) -> None:
    content = ACCOUNTS + BAD + b"\n"
    lease = await ledger.lease("acme")
    await ledger.store(lease, content)
    assert await ledger.deliveries.seal(lease, sealing_of(content, lease=lease))
    await ledger.judgements.begin(lease.delivery_id)
    assert await ledger.judge(lease.delivery_id) == "complete"
    [entry] = await ledger.quarantine.entries(EVERYTHING)
    await repair(ledger, lease.delivery_id, fixed(entry, b"3,0014,12.5,EUR,0.25"))
    before = await view(ledger), await ledger.quarantine.entries(EVERYTHING)
    for metadata, checked in chunks_of(lease, content):
        assert (await ledger.chunks.persist(metadata, checked, position=POSITION)).value == "seen"
    assert (await view(ledger), await ledger.quarantine.entries(EVERYTHING)) == before
