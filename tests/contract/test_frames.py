"""Slices of a larger set in PostgreSQL: each record where it belongs, once, whatever the slices are cut by."""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

import polars as pl
import pytest

from dataharvest.adapters.postgres.frames import read_entity
from dataharvest.deliveries import OpenBatch, SetKey
from dataharvest.entities import Column, Entity, Kind, all_entities
from dataharvest.messages import Batch
from dataharvest.replaying.recompute import ComputedSet, foretell
from dataharvest.stages.transform import as_json
from dataharvest.transformers import all_transformers
from dataharvest.transformers.model import Per, Reads
from tests.contract.ledgers import DAY, FILES, Ledger
from tests.contract.test_removal import begin_to_publish
from tests.contract.test_work import batch_of, establish, planned, related, sorted_rows

KEY = SetKey("acme", DAY)
SLICES = 3
READS: Reads = {
    "clients": ("client_reference", "last_name"),
    "portfolios": ("portfolio_reference", "client_reference", "account_number", "agent_code"),
    "accounts": ("account_number", "currency"),
    "transactions": ("account_number", "transaction_reference"),
}
OF_PORTFOLIOS, OF_CLIENTS = "transactions", "tax"
"""Transformers, whose batches are slices by account and by client."""

Frames = Mapping[str, pl.DataFrame]


def reference(letter: str, number: int) -> str:
    """A UUID that says what it names."""
    return f"{letter}{number:07}-0000-4aaa-8bbb-0123456789ab"


def content(header: str, rows: list[str]) -> bytes:
    """A file with its records numbered."""
    return "".join([f"record_id,{header}\n", *(f"{number},{row}\n" for number, row in enumerate(rows, 1))]).encode()


LINKED = {f"{reference('b', p)}": (f"{reference('c', p % 10)}", f"00{p % 16:02}") for p in range(24)}
"""Portfolios with client and account: eight accounts belong to two portfolios, of different clients."""
BOOKED = [(f"00{t % 16:02}", f"t{t}") for t in range(40)]


def files(*, orphans: bool) -> dict[str, bytes]:
    """The set, with a client without portfolios, which is no orphan."""
    portfolios = [f"{account},{one},{client},A{one[:8]}" for one, (client, account) in LINKED.items()]
    booked, numbers = list(BOOKED), [f"00{a:02}" for a in range(16)]
    if orphans:
        portfolios.append(f"9999,{reference('b', 99)},{reference('c', 99)},NOBODY")
        booked += [("8888", "t88"), ("7777", "t77")]
        numbers.append("7777")
    return {
        "clients": content("last_name,client_reference,tax_free_allowance", [f"N{c},{reference('c', c)},801" for c in range(11)]),
        "portfolios": content("account_number,portfolio_reference,client_reference,agent_code", portfolios),
        "accounts": content("account_number,cash_balance,currency,taxes_paid", [f"{one},5,EUR,0" for one in numbers]),
        "transactions": content(
            "account_number,transaction_reference,amount,keyword", [f"{account},{one},1,DEPOSIT" for account, one in booked]
        ),
    }


async def established(ledger: Ledger, *, orphans: bool) -> None:
    """A version that is related."""
    assert bool(await related(ledger, files(orphans=orphans))) is orphans
    await establish(ledger)


async def slices_of(ledger: Ledger, rule: str, *, per: Per, count: int, all_linked: bool) -> list[Frames]:
    """The frames of each batch, which knows whether it may rely on every record's being linked."""
    found: list[Frames] = []
    for batch in await planned(ledger, rule, count=count):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            assert locked.opened.all_linked is all_linked
            found.append(await locked.frames(READS, per=per))
    return found


def column(frame: pl.DataFrame, name: str) -> Counter[str]:
    """How often a column has each value."""
    return Counter(frame[name].to_list())


@pytest.mark.parametrize("orphans", [False, True], ids=["all linked", "some not"])
async def test_a_portfolio_is_in_one_slice_with_what_is_booked_on_its_account(real_ledger: Ledger, orphans: bool) -> None:
    await established(real_ledger, orphans=orphans)
    slices = await slices_of(real_ledger, OF_PORTFOLIOS, per="portfolio", count=SLICES, all_linked=not orphans)
    assert all(not one["portfolios"].is_empty() for one in slices)
    everywhere = sum((column(one["portfolios"], "portfolio_reference") for one in slices), Counter[str]())
    # Whoever reads more than references reads the rows themselves: also of a portfolio without a client.
    assert everywhere == Counter([*LINKED, *([reference("b", 99)] if orphans else [])])
    for one in slices:
        mine = [LINKED[name] for name in one["portfolios"]["portfolio_reference"] if name in LINKED]
        numbers = {account for _, account in mine}
        assert column(one["accounts"], "account_number") == Counter(numbers)
        assert column(one["clients"], "client_reference") == Counter({client for client, _ in mine})
        assert sorted_rows(one["transactions"]) == sorted(row for row in BOOKED if row[0] in numbers)
        assert all(row["agent_code"] in ("NOBODY", f"A{row['portfolio_reference'][:8]}") for row in one["portfolios"].to_dicts())


@pytest.mark.parametrize("orphans", [False, True], ids=["all linked", "some not"])
async def test_a_client_is_in_one_slice_with_all_that_is_its_own(real_ledger: Ledger, orphans: bool) -> None:
    await established(real_ledger, orphans=orphans)
    slices = await slices_of(real_ledger, OF_CLIENTS, per="client", count=SLICES, all_linked=not orphans)
    everywhere = sum((column(one["clients"], "client_reference") for one in slices), Counter[str]())
    assert everywhere == Counter(reference("c", c) for c in range(11))
    for one in slices:
        mine = {name: place for name, place in LINKED.items() if place[0] in set(one["clients"]["client_reference"])}
        numbers = {account for _, account in mine.values()}
        assert column(one["portfolios"], "portfolio_reference") == Counter(list(mine))
        assert column(one["accounts"], "account_number") == Counter(numbers)
        assert sorted_rows(one["transactions"]) == sorted(row for row in BOOKED if row[0] in numbers)


@pytest.mark.parametrize("orphans", [False, True], ids=["all linked", "some not"])
async def test_clients_slices_together_are_the_one_batch_without_its_orphans(real_ledger: Ledger, orphans: bool) -> None:
    await established(real_ledger, orphans=orphans)
    slices = await slices_of(real_ledger, OF_CLIENTS, per="client", count=SLICES, all_linked=not orphans)
    [whole] = await slices_of(real_ledger, OF_PORTFOLIOS, per="client", count=1, all_linked=not orphans)
    strangers = {"portfolios": {reference("b", 99)}, "accounts": {"7777"}, "transactions": {"8888", "7777"}}
    for name in READS:
        expected = {row for row in whole[name].rows() if row[0] not in strangers.get(name, set())}
        assert (len(expected) < whole[name].height) is (orphans and name in strangers)
        assert {row for one in slices for row in one[name].rows()} == expected


POSITIONS = Entity(
    name="positions",
    natural_key="record_id",
    columns=(
        Column(name="record_id", kind=Kind.DIGITS),
        Column(name="portfolio_reference", kind=Kind.UUID),
        Column(name="account_number", kind=Kind.KEY),
    ),
)


@pytest.mark.parametrize("orphans", [False, True], ids=["all linked", "some not"])
@pytest.mark.parametrize("rule", [OF_PORTFOLIOS, OF_CLIENTS])
async def test_a_kind_of_file_that_relating_does_not_vouch_for_is_looked_up(
    real_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rule: str, orphans: bool
) -> None:
    """A position of a portfolio on another portfolio's account belongs to neither's slice."""
    await established(real_ledger, orphans=orphans)
    names = list(LINKED)
    fitting = [(number, name, LINKED[name][1]) for number, name in enumerate(names)]
    others = [(100 + number, name, LINKED[names[number - 1]][1]) for number, name in enumerate(names)]
    for count in (2, SLICES, 5):
        opened = await opened_of(real_ledger, rule, count)
        with monkeypatch.context() as patching:
            patching.setitem(all_entities(), "positions", POSITIONS)
            rows = await read_positions(real_ledger, batch_of(rule, 0, count), [*fitting, *others], opened=opened)
        assert sorted(rows) == fitting


async def opened_of(ledger: Ledger, rule: str, count: int) -> OpenBatch:
    """The version with a delivery of positions."""
    [first, *_] = await planned(ledger, rule, count=count)
    async with ledger.work.open_batch(first) as locked:
        assert locked is not None
        return locked.opened._replace(deliveries={**locked.opened.deliveries, "positions": 1})


async def read_positions(
    ledger: Ledger, first: Batch, rows: list[tuple[int, str, str]], *, opened: OpenBatch
) -> list[tuple[object, ...]]:
    """All slices' rows of a table that is there for this long."""
    assert ledger.database is not None
    found: list[tuple[object, ...]] = []
    async with ledger.database.transaction() as connection:
        definition = ", ".join(f"{one.name} {one.kind.value}" for one in POSITIONS.columns)
        await connection.execute(f"CREATE TEMPORARY TABLE row_positions (delivery_id bigint, {definition}) ON COMMIT DROP")
        records = [(1, number, UUID(name), account) for number, name, account in rows]
        await connection.copy_records_to_table("row_positions", records=records)
        for index in range(first.batch_count):
            batch = first.model_copy(update={"batch": index})
            per = all_transformers()[first.rule].per
            names = tuple(one.name for one in POSITIONS.columns)
            found += (await read_entity(connection, "positions", names, per=per, opened=opened, batch=batch)).rows()
    return found


async def compute(ledger: Ledger, name: str) -> None:
    """Store the values of a transformer, in several batches."""
    transformer = all_transformers()[name]
    for batch in await planned(ledger, name, count=SLICES):
        async with ledger.work.open_batch(batch) as locked:
            assert locked is not None
            values = transformer.compute(**await locked.frames(transformer.reads, per=transformer.per))
            await locked.store_values(as_json(values, tuple(transformer.values)), transformer=name, logic_version=1)
            await locked.mark_computed()


@pytest.mark.parametrize("orphans", [False, True], ids=["all linked", "some not"])
async def test_a_plan_compares_with_what_is_stored_when_the_portfolios_rows_are_gone(real_ledger: Ledger, orphans: bool) -> None:
    await established(real_ledger, orphans=orphans)
    rules = ("transactions", "sum_of_deposits")
    for name in rules:
        await compute(real_ledger, name)
    await begin_to_publish(real_ledger, 1)
    await supersede_portfolios(real_ledger)
    for name in rules:
        computed = ComputedSet(KEY, 1, "published", False, (1,), SLICES)
        forecast = await foretell(computed, transformer=all_transformers()[name], outbound=(), work=real_ledger.work)
        assert (forecast.value_count, forecast.changed) == (len(LINKED), ())


async def supersede_portfolios(ledger: Ledger) -> None:
    """A corrected file is in version 2, version 1 is published, and its portfolios' rows go."""
    corrected = await ledger.complete("acme", "portfolios", FILES["portfolios"])
    async with ledger.sets.locked(KEY) as locked:
        [first] = (await locked.view()).versions
        await locked.create_version(2, {**first.deliveries, "portfolios": corrected})
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_published(1)
    [due] = await ledger.removals.due()
    assert due == first.deliveries["portfolios"]
    assert await ledger.removals.remove(due)
