"""Relating by slices: whatever their order, together they link every portfolio once, and the last one knows all orphans."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import polars as pl
import pytest

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.deliveries import SetKey
from dataharvest.rulebook import RELATIONSHIP, all_rules
from tests.contract.ledgers import DAY, FILES, Ledger, someone_waits
from tests.contract.test_work import batch_of, planned

CLIENT = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f"
STRANGER = "c0000000-0000-4aaa-8bbb-0123456789ab"
PORTFOLIO_COUNT, TRANSACTION_COUNT, STEP = 300, 900, 50
"""Rows of several blocks of a table; an orphan of a kind every ``STEP`` rows."""
ORPHANS = {
    "portfolios without an account": PORTFOLIO_COUNT // STEP,
    "portfolios without a client": PORTFOLIO_COUNT // STEP,
    "transactions without an account": TRANSACTION_COUNT // STEP,
    "accounts without a portfolio": PORTFOLIO_COUNT // STEP,
}


@pytest.fixture(autouse=True)
def chunks_of_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk for every record would be a thousand transactions for each test."""
    monkeypatch.setattr("tests.contract.ledgers.CHUNK_BYTES", 2048)


def reference_of(number: int) -> str:
    return str(UUID(int=number))


def lines(header: str, rows: Sequence[str]) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def large_files() -> dict[str, bytes]:
    """A set whose tables have several blocks, with orphans of every kind all over them."""
    numbers = range(PORTFOLIO_COUNT)
    accounts = [f"{i},{i:04},1,EUR,0" for i in numbers]
    portfolios = [
        f"{i},{'x' if i % STEP == 0 else ''}{i:04},{reference_of(i)},{STRANGER if i % STEP == 1 else CLIENT}," for i in numbers
    ]
    transactions = [f"{i},{'y' if i % STEP == 0 else ''}{i % PORTFOLIO_COUNT:04},t{i},1,FEE" for i in range(TRANSACTION_COUNT)]
    return {
        "accounts": lines("record_id,account_number,cash_balance,currency,taxes_paid", accounts),
        "clients": lines("record_id,first_name,last_name,client_reference,tax_free_allowance", [f"1,,,{CLIENT},1"]),
        "portfolios": lines("record_id,account_number,portfolio_reference,client_reference,agent_code", portfolios),
        "transactions": lines("record_id,account_number,transaction_reference,amount,keyword", transactions),
    }


async def related_in(ledger: Ledger, order: Sequence[int], *, count: int) -> list[dict[str, int] | None]:
    """What relating each slice says, in this order."""
    found = []
    for index in order:
        async with ledger.work.open_batch(batch_of(RELATIONSHIP, index, count)) as locked:
            assert locked is not None
            found.append(await locked.relate())
            await locked.mark_computed()
    return found


async def links_of(ledger: Ledger) -> list[str]:
    """Portfolios of the version's links, as often as they are linked."""
    [batch] = await planned(ledger, "tax")
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        frames = await locked.frames({"portfolios": ("portfolio_reference",)}, per="portfolio")
    column: pl.Series = frames["portfolios"]["portfolio_reference"]
    return sorted(column.to_list())


LINKED = sorted(reference_of(i) for i in range(PORTFOLIO_COUNT) if i % STEP not in (0, 1))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
async def test_slices_link_every_portfolio_once_and_the_last_knows_all_orphans(ledger: Ledger, order: Sequence[int]) -> None:
    await ledger.version("acme", files=large_files())
    await planned(ledger, RELATIONSHIP, count=3)
    assert await related_in(ledger, order, count=3) == [None, None, ORPHANS]
    assert await links_of(ledger) == LINKED


async def test_more_slices_than_blocks_find_the_same(ledger: Ledger) -> None:
    await ledger.version("acme", files=large_files())
    await planned(ledger, RELATIONSHIP, count=40)
    assert await related_in(ledger, range(40), count=40) == [*[None] * 39, ORPHANS]
    assert await links_of(ledger) == LINKED


async def test_every_row_is_gone_through_in_one_slice(real_ledger: Ledger) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    await related_in(real_ledger, range(3), count=3)
    seen = await of_database(real_ledger).seen()
    assert sum(seen) == 2 * PORTFOLIO_COUNT + TRANSACTION_COUNT
    assert sorted(seen)[0] > 0
    assert seen[1] == PORTFOLIO_COUNT + TRANSACTION_COUNT, "of three slices the second goes through what the others do not"


async def test_a_slice_that_fails_leaves_nothing(real_ledger: Ledger) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    await related_in(real_ledger, (0,), count=3)
    with pytest.raises(ZeroDivisionError):
        async with real_ledger.work.open_batch(batch_of(RELATIONSHIP, 1, 3)) as locked:
            assert locked is not None
            await locked.relate()
            raise ZeroDivisionError
    assert await related_in(real_ledger, (1, 2), count=3) == [None, ORPHANS]
    assert await links_of(real_ledger) == LINKED


@pytest.mark.parametrize("statement", ["VACUUM FULL row_portfolios", "VACUUM FULL row_transactions", "VACUUM FULL row_accounts"])
async def test_rows_that_move_between_slices_are_seen_once_all_the_same(real_ledger: Ledger, statement: str) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    assert await related_in(real_ledger, (0, 1), count=3) == [None, None]
    await of_database(real_ledger).run(statement)
    assert await related_in(real_ledger, (2,), count=3) == [ORPHANS]
    assert await links_of(real_ledger) == LINKED


async def test_a_row_that_came_between_slices_is_seen(real_ledger: Ledger) -> None:
    made = await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    await related_in(real_ledger, (0, 2), count=3)
    # As the repair of a quarantined record does, at the end of the table: the slice for that has been gone through.
    await of_database(real_ledger).add_portfolio(made["portfolios"], reference_of(10**6), CLIENT)
    assert await related_in(real_ledger, (1,), count=3) == [ORPHANS]
    assert await links_of(real_ledger) == [*LINKED, reference_of(10**6)]


@pytest.mark.parametrize("pair", [(1, 2), (2, 1)])
async def test_of_two_slices_at_once_the_one_that_commits_later_is_the_last(real_ledger: Ledger, pair: tuple[int, int]) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    assert await related_in(real_ledger, (0,), count=3) == [None]
    async with real_ledger.work.open_batch(batch_of(RELATIONSHIP, pair[0], 3)) as earlier:
        assert earlier is not None
        assert await earlier.relate() is None, "the other slice is open still"
        later = asyncio.create_task(related_in(real_ledger, (pair[1],), count=3))
        assert real_ledger.database is not None
        await someone_waits(real_ledger.database)
        await earlier.mark_computed()
    assert await later == [ORPHANS]
    assert await links_of(real_ledger) == LINKED


async def test_a_slice_whose_neighbour_comes_to_nothing_is_not_the_last(real_ledger: Ledger) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=2)
    with pytest.raises(ZeroDivisionError):
        async with real_ledger.work.open_batch(batch_of(RELATIONSHIP, 0, 2)) as earlier:
            assert earlier is not None and await earlier.relate() is None
            later = asyncio.create_task(related_in(real_ledger, (1,), count=2))
            assert real_ledger.database is not None
            await someone_waits(real_ledger.database)
            raise ZeroDivisionError
    assert await later == [None]
    assert await related_in(real_ledger, (0,), count=2) == [ORPHANS]
    assert await links_of(real_ledger) == LINKED


async def test_samples_of_all_slices_are_kept_with_one_count(real_ledger: Ledger) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    await related_in(real_ledger, range(3), count=3)
    wanted = sorted(reference_of(i) for i in range(0, PORTFOLIO_COUNT, STEP))
    assert await of_database(real_ledger).sample("portfolios without an account") == wanted


@pytest.mark.parametrize("ending", ["related", "blocked"])
async def test_the_status_tells_of_orphans_once_all_slices_are_related(real_ledger: Ledger, ending: str) -> None:
    await real_ledger.version("acme", files=large_files())
    await planned(real_ledger, RELATIONSHIP, count=3)
    await related_in(real_ledger, (0, 1), count=3)
    assert await of_database(real_ledger).told() == {}
    await related_in(real_ledger, (2,), count=3)
    if ending == "related":
        for index in range(3):
            async with real_ledger.work.open_batch(batch_of(RELATIONSHIP, index, 3)) as locked:
                assert locked is not None
                await locked.mark_computed(is_done=True)
        await real_ledger.sets.confirm_done(SetKey("acme", DAY), 1, all_rules()[RELATIONSHIP])
    else:
        await of_database(real_ledger).run("UPDATE set_version SET state = 'blocked', failure = $1", {"rule": "orphans"})
    assert await of_database(real_ledger).told() == ORPHANS


class Rows:
    """What these tests look at and change in the database itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, statement: str, *arguments: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(statement, *arguments)

    async def seen(self) -> list[int]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT record_count FROM batch WHERE rule = $1 ORDER BY batch_index", RELATIONSHIP)
        return [row["record_count"] for row in rows]

    async def sample(self, kind: str) -> list[str]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT reference FROM orphan WHERE kind = $1 ORDER BY reference", kind)
        return [row["reference"] for row in rows]

    async def told(self) -> dict[str, int]:
        """Orphans that the status tells of, by kind."""
        status = PostgresStatus(self._database, required=FILES, rules=all_rules().values())
        [found] = (await status.report(tenant="acme")).sets
        return {one.kind: one.count for one in found.orphans}

    async def add_portfolio(self, delivery_id: int, reference: str, client: str) -> None:
        await self.run(
            "INSERT INTO row_portfolios (delivery_id, record_id, account_number, portfolio_reference, client_reference) "
            "VALUES ($1, 1, '0003', $2, $3)",
            delivery_id,
            reference,
            client,
        )
        await self.run("UPDATE delivery SET persisted_count = persisted_count + 1 WHERE delivery_id = $1", delivery_id)


def of_database(ledger: Ledger) -> Rows:
    assert ledger.database is not None
    return Rows(ledger.database)
