"""What a set knows of control totals, in memory and in PostgreSQL: exact sums and both hashes of a delivery, and the problem."""

from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from typing import Any

from dataharvest.deliveries import SetKey
from tests.contract.ledgers import ACCOUNTS, DAY, PORTFOLIOS, Ledger, sealing_of

KEY = SetKey("acme", DAY)


async def problem_of_set(ledger: Ledger) -> Any:
    if ledger.rows:
        return ledger.rows.problems.get(KEY)
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        return await connection.fetchval("SELECT problem FROM business_set")


async def set_problem(ledger: Ledger, problem: dict[str, Any]) -> None:
    if ledger.rows:
        ledger.rows.problems[KEY] = problem
    else:
        assert ledger.database is not None
        async with ledger.database.connection() as connection:
            await connection.execute("UPDATE business_set SET problem = $1", problem)


async def test_a_complete_delivery_has_exact_sums_and_both_hashes(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    await ledger.store(lease, ACCOUNTS)
    sealing = replace(sealing_of(ACCOUNTS, lease=lease), object_sha256=sha256(b"compressed").digest())
    assert await ledger.deliveries.seal(lease, sealing)
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    assert await ledger.judge(lease.delivery_id) == "complete"
    other = await ledger.complete("acme", "portfolios", PORTFOLIOS)
    async with ledger.sets.locked(KEY) as locked:
        totals = await locked.totals([lease.delivery_id, other])
    accounts, portfolios = totals["accounts"], totals["portfolios"]
    assert (accounts.records, accounts.left_out) == (2, 0)
    assert accounts.sums == {"cash_balance": Decimal("1520.5"), "taxes_paid": Decimal("11.25")}
    assert accounts.object_sha256 == sha256(b"compressed").hexdigest()
    assert accounts.content_sha256 == sha256(ACCOUNTS).hexdigest()
    assert (portfolios.records, portfolios.sums, portfolios.object_sha256) == (3, {}, None)


async def test_an_empty_delivery_has_sums_of_nothing(ledger: Ledger) -> None:
    delivery_id = await ledger.complete("acme", "accounts", ACCOUNTS.partition(b"\n")[0] + b"\n")
    async with ledger.sets.locked(KEY) as locked:
        totals = await locked.totals([delivery_id])
    assert totals["accounts"].sums == {"cash_balance": 0, "taxes_paid": 0}


async def test_a_problem_of_the_totals_is_noted_and_cleared_and_another_kind_stays(ledger: Ledger) -> None:
    await ledger.register("acme")
    for problem in ({"rule": "control_totals", "message": "x"}, {"rule": "manifest_required", "message": "y"}, None, None):
        async with ledger.sets.locked(KEY) as locked:
            await locked.set_totals_problem(problem)
        assert await problem_of_set(ledger) == problem
    other = {"rule": "conservation", "message": "z"}
    await set_problem(ledger, other)
    for ours in (None, {"rule": "control_totals"}):
        async with ledger.sets.locked(KEY) as locked:
            await locked.set_totals_problem(ours)
        assert await problem_of_set(ledger) == other
