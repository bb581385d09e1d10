"""What batches promise: planned once, worked on in one state of one version, each effect marked, in memory and in PostgreSQL."""

from collections import Counter
from decimal import Decimal

import polars as pl
import pytest

from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.outbound import all_outbound
from dataharvest.ports import LockedBatch
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.outbound_messages import Envelope, changed_messages
from dataharvest.stages.transform import as_json
from dataharvest.transformers import AMOUNT, all_transformers
from dataharvest.transformers.model import Per, Reads
from tests.contract.ledgers import CLIENTS, DAY, FILES, PORTFOLIOS, TRANSACTIONS, Ledger

FRIDA, JON = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f", "1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d"
FIRST, SECOND, THIRD = (
    "90751f3a-0c6e-4a3e-9a55-1d2e3f405162",
    "a1b2c3d4-1111-4aaa-8bbb-0123456789ab",
    "a1b2c3d4-2222-4aaa-8bbb-0123456789ab",
)
EVERYTHING: Reads = {
    "clients": ("client_reference", "tax_free_allowance"),
    "portfolios": ("portfolio_reference", "client_reference", "account_number"),
    "accounts": ("account_number", "cash_balance", "currency"),
    "transactions": ("account_number", "amount", "keyword"),
}


def ready(rule: str, *, version: int = 1) -> RuleReady:
    return RuleReady(tenant="acme", business_date=DAY, version=version, rule=rule)


def batch_of(rule: str, index: int = 0, count: int = 1, *, version: int = 1) -> Batch:
    return Batch(tenant="acme", business_date=DAY, version=version, rule=rule, batch=index, batch_count=count)


def sorted_rows(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(frame.rows(), key=str)


async def planned(ledger: Ledger, rule: str, *, count: int = 1, version: int = 1) -> list[Batch]:
    await ledger.work.plan(ready(rule, version=version), batch_count=count)
    return [batch_of(rule, index, count, version=version) for index in range(count)]


async def related(ledger: Ledger, files: dict[str, bytes] | None = None) -> dict[str, int]:
    """A version whose links are made; returns the orphans."""
    await ledger.version("acme", files={**FILES, **(files or {})})
    [batch] = await planned(ledger, RELATIONSHIP)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        orphans = await locked.relate()
        assert orphans is not None, "it is the last slice"
        return orphans


async def test_a_version_without_a_file_is_worked_on_like_one_whose_file_has_no_records(ledger: Ledger) -> None:
    await ledger.version("acme", files={name: content for name, content in FILES.items() if name != "transactions"})
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        [version] = (await locked.view()).versions
        assert version.facts == {f"{name}_persisted" for name in FILES}
    [batch] = await planned(ledger, RELATIONSHIP)
    async with ledger.work.open_batch(batch) as opened:
        assert opened is not None
        assert await opened.relate() == {}
    [frames] = await frames_of(ledger, EVERYTHING, per="portfolio", count=1, rule="transactions")
    assert (frames["transactions"].height, frames["portfolios"].height) == (0, 3)


async def frames_of(ledger: Ledger, reads: Reads, *, per: Per, count: int, rule: str) -> list[dict[str, pl.DataFrame]]:
    found = []
    for batch in await planned(ledger, rule, count=count):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            found.append(await locked.frames(reads, per=per))
    return found


async def test_records_are_counted_by_entity(ledger: Ledger) -> None:
    await ledger.version("acme", files={**FILES, "transactions": TRANSACTIONS.partition(b"\n")[0] + b"\n"})
    assert await ledger.work.record_counts(ready("tax")) == {"accounts": 2, "clients": 2, "portfolios": 3, "transactions": 0}
    assert await ledger.work.record_counts(ready("tax", version=2)) == {}


async def test_a_rule_is_planned_once_whatever_comes_later(ledger: Ledger) -> None:
    await ledger.version("acme")
    for count in (2, 2, 3):
        await ledger.work.plan(ready("tax"), batch_count=count)
    assert await ledger.work.unsent(ready("tax")) == [batch_of("tax", 0, 2), batch_of("tax", 1, 2)]


@pytest.mark.parametrize("at_most", [6, 7])
async def test_the_only_batch_of_a_small_set_is_planned_with_its_counts_and_held(ledger: Ledger, at_most: int) -> None:
    await ledger.version("acme", files={**FILES, "transactions": TRANSACTIONS.partition(b"\n")[0] + b"\n"})
    counts = {"accounts": 2, "clients": 2, "portfolios": 3, "transactions": 0}
    is_small = at_most == 7

    found = [await ledger.work.plan_small(ready("tax"), at_most=at_most) for _ in range(2)]

    assert found == [(counts, is_small), (counts, False)]
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert turn.batches == []
    await ledger.work.release(batch_of("tax"))
    assert await ledger.work.unsent(ready("tax")) == ([batch_of("tax")] if is_small else [])


async def test_nothing_small_is_planned_where_nothing_counts_or_something_is_planned(ledger: Ledger) -> None:
    assert await ledger.work.plan_small(ready("tax"), at_most=7) == ({}, False)
    made = await ledger.version("acme")
    await planned(ledger, "tax", count=3)
    assert not (await ledger.work.plan_small(ready("tax"), at_most=1_000))[1]
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.create_version(2, made)
    assert not (await ledger.work.plan_small(ready("transactions"), at_most=1_000))[1]
    assert await ledger.work.unsent(ready("transactions")) == []


async def test_batches_are_unsent_until_marked(ledger: Ledger) -> None:
    await ledger.version("acme")
    await planned(ledger, "tax", count=3)
    await planned(ledger, "transactions")
    await ledger.work.mark_sent(batch_of("tax", 1, 3))
    assert await ledger.work.unsent(ready("tax")) == [batch_of("tax", 0, 3), batch_of("tax", 2, 3)]
    assert await ledger.work.unsent(ready("transactions")) == [batch_of("transactions")]


async def test_nothing_is_planned_for_a_version_that_does_not_count(ledger: Ledger) -> None:
    made = await ledger.version("acme")
    await planned(ledger, "transactions")
    async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.create_version(2, made)
    await planned(ledger, "tax")
    await planned(ledger, "tax", version=3)
    assert await ledger.work.unsent(ready("tax")) == []
    assert await ledger.work.unsent(ready("transactions")) == []
    for batch in (batch_of("tax"), batch_of("transactions"), batch_of("tax", version=3)):
        async with ledger.work.open_batch(batch) as opened:
            assert opened is None


async def test_a_blocked_version_is_not_worked_on(ledger: Ledger) -> None:
    await ledger.version("acme")
    await planned(ledger, "tax")
    [relating] = await planned(ledger, RELATIONSHIP)
    async with ledger.work.open_batch(relating) as locked:
        assert locked is not None
        await locked.block({"rule": "orphans", "message": "2 transactions without an account"})
    async with ledger.work.open_batch(batch_of("tax")) as opened:
        assert opened is None


async def test_a_batch_knows_whether_it_was_computed(ledger: Ledger) -> None:
    made = await ledger.version("acme")
    [batch] = await planned(ledger, "tax")
    for computed in (False, True):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            assert (locked.opened.computed, locked.opened.deliveries) == (computed, made)
            await locked.mark_computed()


async def test_relating_links_what_belongs_together_and_reports_the_rest(ledger: Ledger) -> None:
    assert await related(ledger) == {}


async def test_orphans_are_counted_by_kind_and_left_out_of_the_links(ledger: Ledger) -> None:
    stranger = b"4,9999,b0000000-0000-4aaa-8bbb-0123456789ab,c0000000-0000-4aaa-8bbb-0123456789ab,\n"
    orphans = await related(
        ledger,
        {
            "portfolios": PORTFOLIOS + stranger,
            "transactions": TRANSACTIONS + b"4,8888,t4,1,FEE\n5,8888,t5,1,FEE\n",
            "accounts": FILES["accounts"] + b"3,0014,0,EUR,0\n",
        },
    )
    assert orphans == {
        "portfolios without an account": 1,
        "portfolios without a client": 1,
        "transactions without an account": 2,
        "accounts without a portfolio": 1,
    }
    [frames] = await frames_of(ledger, {"portfolios": ("portfolio_reference",)}, per="portfolio", count=1, rule="tax")
    assert sorted_rows(frames["portfolios"]) == [(FIRST,), (SECOND,), (THIRD,)]


async def test_frames_hold_exact_values_and_keys_as_they_were(ledger: Ledger) -> None:
    await related(ledger)
    [frames] = await frames_of(ledger, EVERYTHING, per="client", count=1, rule="tax")
    assert sorted_rows(frames["clients"]) == [(JON, Decimal("5.0000")), (FRIDA, Decimal("801.0000"))]
    assert sorted_rows(frames["accounts"]) == [
        ("0012", Decimal("1500.5000"), "EUR"),
        ("0013", Decimal("20.0000"), "EUR"),
    ]
    assert sorted_rows(frames["transactions"]) == [
        ("0012", Decimal("-1.0050"), "TAX"),
        ("0012", Decimal("5000.0000"), "DEPOSIT"),
        ("0013", Decimal("0.0001"), "DEPOSIT"),
    ]
    assert sorted_rows(frames["portfolios"]) == [(FIRST, FRIDA, "0012"), (SECOND, JON, "0013"), (THIRD, JON, "0013")]
    assert frames["transactions"].schema["amount"] == AMOUNT


async def test_frames_of_nothing_have_columns_and_types(ledger: Ledger) -> None:
    empty = {name: content.partition(b"\n")[0] + b"\n" for name, content in FILES.items()}
    await related(ledger, empty)
    [frames] = await frames_of(ledger, EVERYTHING, per="client", count=1, rule="tax")
    for name, columns in EVERYTHING.items():
        assert (frames[name].height, tuple(frames[name].columns)) == (0, columns)
    assert frames["accounts"].schema["cash_balance"] == AMOUNT


@pytest.mark.parametrize("per", ["client", "portfolio"])
async def test_slices_together_are_the_whole(ledger: Ledger, per: Per) -> None:
    await related(ledger)
    [whole] = await frames_of(ledger, EVERYTHING, per=per, count=1, rule="tax")
    slices = await frames_of(ledger, EVERYTHING, per=per, count=3, rule="transactions")
    own = f"{per}s"
    assert sorted(row for one in slices for row in one[own].rows()) == sorted(whole[own].rows())
    for name in EVERYTHING:
        assert {row for one in slices for row in one[name].rows()} == set(whole[name].rows())


async def establish(ledger: Ledger) -> None:
    """Conclude relating of the only version, which is one batch."""
    async with ledger.work.open_batch(batch_of(RELATIONSHIP)) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)
    await ledger.sets.confirm_done(SetKey("acme", DAY), 1, all_rules()[RELATIONSHIP])


STRANGERS = {"transactions": TRANSACTIONS + b"4,8888,t4,1,FEE\n", "accounts": FILES["accounts"] + b"3,0014,0,EUR,0\n"}


@pytest.mark.parametrize("files", [{}, STRANGERS], ids=["all linked", "some not"])
@pytest.mark.parametrize("is_established", [False, True])
async def test_slices_hold_each_linked_row_once_and_no_other(
    ledger: Ledger, files: dict[str, bytes], is_established: bool
) -> None:
    await related(ledger, files)
    if is_established:
        await establish(ledger)
    slices = await frames_of(ledger, EVERYTHING, per="portfolio", count=3, rule="transactions")
    assert sorted(row[0] for one in slices for row in one["portfolios"].rows()) == [FIRST, SECOND, THIRD]
    for name, expected in (("accounts", {"0012": 1, "0013": 1}), ("transactions", {"0012": 2, "0013": 1})):
        for one in slices:
            mine = set(one["portfolios"]["account_number"])
            assert Counter(one[name]["account_number"]) == {account: expected[account] for account in mine}


@pytest.mark.parametrize("name", ["tax", "transactions", "sum_of_deposits"])
async def test_a_transformer_gives_the_same_values_in_one_batch_and_in_three(ledger: Ledger, name: str) -> None:
    await related(ledger)
    transformer = all_transformers()[name]
    [whole] = await frames_of(ledger, transformer.reads, per=transformer.per, count=1, rule="one")
    slices = await frames_of(ledger, transformer.reads, per=transformer.per, count=3, rule=name)
    parts = [transformer.compute(**frames) for frames in slices]
    assert sorted_rows(pl.concat(parts)) == sorted_rows(transformer.compute(**whole))


async def store_values(locked: LockedBatch, transformer: str, rows: dict[str, str]) -> None:
    values = pl.DataFrame({"reference": list(rows), "fields": list(rows.values())})
    await locked.store_values(values, transformer=transformer, logic_version=1)


@pytest.mark.parametrize("name", ["tax", "transactions", "sum_of_deposits"])
async def test_a_transformer_s_batch_finds_the_values_that_are_computed_from_its_frames(ledger: Ledger, name: str) -> None:
    await related(ledger)
    transformer = all_transformers()[name]
    for batch in await planned(ledger, name, count=3):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            values = transformer.compute(**await locked.frames(transformer.reads, per=transformer.per))
            stored = as_json(values, tuple(transformer.values))
            await locked.store_values(stored, transformer=name, logic_version=1)
    for batch in await planned(ledger, name, count=3):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            values = transformer.compute(**await locked.frames(transformer.reads, per=transformer.per))
            found = await locked.values({name: tuple(transformer.values)})
        assert sorted_rows(found) == sorted_rows(values)


VALUES = {
    "transactions": {FIRST: '{"number_of_transactions":2}', SECOND: '{"number_of_transactions":0}'},
    "sum_of_deposits": {FIRST: '{"sum_of_deposits":"5000.0001"}', SECOND: '{"sum_of_deposits":"0.00"}'},
}
TAKES: Reads = {"transactions": ("number_of_transactions",), "sum_of_deposits": ("sum_of_deposits",)}


@pytest.mark.parametrize("count", [1, 3])
async def test_values_come_back_side_by_side_and_exact(ledger: Ledger, count: int) -> None:
    await related(ledger)
    for transformer, rows in VALUES.items():
        [batch] = await planned(ledger, transformer)
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            await store_values(locked, transformer, rows)
    found = []
    for batch in await planned(ledger, "outbound.portfolios", count=count):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            found += (await locked.values(TAKES)).rows()
    assert sorted(found) == [(FIRST, 2, Decimal("5000.0001")), (SECOND, 0, Decimal("0.0000"))]


async def publish(ledger: Ledger, contents: dict[str, str], *, version: int) -> list[str]:
    """Store what changed since the last version; returns its message ids."""
    envelope = Envelope("acme", DAY, version, "clients", "client_reference")
    [batch] = await planned(ledger, "outbound.clients", version=version)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        last = await locked.last_outbound(kind="clients")
        rows = list(
            changed_messages([{"reference": one, "text": text} for one, text in contents.items()], last=last, envelope=envelope)
        )
        await locked.store_outbound(rows, kind="clients")
        await locked.mark_computed()
    return [row.message_id for row in rows]


async def test_messages_are_unsent_until_marked_and_keep_their_bytes(ledger: Ledger) -> None:
    await ledger.version("acme")
    ids = await publish(ledger, {FRIDA: "ü", JON: "x"}, version=1)
    batch = batch_of("outbound.clients")
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        opened = locked.opened
    unsent = await ledger.work.unsent_outbound(opened, batch, kind="clients")
    assert sorted(one[0] for one in unsent) == sorted(ids)
    [payload] = [payload for _, reference, payload in unsent if reference == FRIDA]
    assert payload.endswith(f'"client_reference":"{FRIDA}","text":"ü"}}'.encode())
    assert await ledger.work.unsent_outbound(opened, batch, kind="portfolios") == []
    await ledger.work.mark_done(opened, batch)
    assert await ledger.work.unsent_outbound(opened, batch, kind="clients") == []


async def test_the_last_message_of_a_key_is_the_newest_of_older_versions(ledger: Ledger) -> None:
    made = await ledger.version("acme")
    first = await publish(ledger, {FRIDA: "a", JON: "x"}, version=1)
    for number, contents, expected in ((2, {FRIDA: "b", JON: "x"}, 1), (3, {FRIDA: "b"}, 1), (4, {FRIDA: "b"}, 0)):
        async with ledger.sets.locked(SetKey("acme", DAY)) as locked:
            await locked.create_version(number, made)
        ids = await publish(ledger, contents, version=number)
        assert len(ids) == expected
        assert not set(ids) & set(first)


async def test_a_batch_that_fails_stores_nothing(real_ledger: Ledger) -> None:
    await related(real_ledger)
    [batch] = await planned(real_ledger, "transactions")
    with pytest.raises(ZeroDivisionError):
        async with real_ledger.work.open_batch(batch) as locked:
            assert locked is not None
            await store_values(locked, "transactions", VALUES["transactions"])
            await locked.mark_computed()
            raise ZeroDivisionError
    async with real_ledger.work.open_batch(batch) as locked:
        assert locked is not None
        assert not locked.opened.computed
        assert (await locked.values({"transactions": ("number_of_transactions",)})).is_empty()


async def test_marking_done_is_what_the_fact_waits_for(ledger: Ledger) -> None:
    await ledger.version("acme")
    [batch] = await planned(ledger, "outbound.clients")
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        opened = locked.opened
    rules = [one.rule for one in all_outbound().values()]
    for done in ([], [[0, 0]]):
        found = await ledger.sets.progress(SetKey("acme", DAY), rules=rules)
        assert found["rules"] == {"1|outbound.clients": {"count": 1, "done": done}}
        await ledger.work.mark_done(opened, batch)


def test_the_files_of_these_tests_hold_what_they_claim() -> None:
    assert FRIDA.encode() in CLIENTS.lower()
    assert PORTFOLIOS.count(JON.encode()) == 2
