"""What every store of contracts promises: numbered versions, none for nothing new, the defaults for whom there is none."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.contracts import DEFAULT, Calendar, Contract, Cutoff
from dataharvest.deliveries import Lease, SetKey
from dataharvest.errors import ContractTrouble, Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.rulebook import RELATIONSHIP, all_rules, required_entities
from dataharvest.rules.keys import ObjectName
from dataharvest.stages.relate import relate
from tests.contract.ledgers import ACCOUNTS, DAY, FILES, POSITION, TRANSACTIONS, Ledger, chunks_of, sealing_of, source_of

SEMICOLON = Contract(delimiter=";", cutoff=Cutoff(time="18:30", zone="UTC"), calendar=Calendar(weekdays=("mon",)))
TAB = Contract(delimiter="\t", header_aliases={"accounts": {"Größe": "account_number"}})

Store = MemoryContracts | PostgresContracts


@pytest.fixture
async def contracts(ledger_place: str | None) -> AsyncIterator[Store]:
    if ledger_place is None:
        yield MemoryContracts()
        return
    database = Database(ledger_place, pool_size=4, application_name="contracts")
    await database.open()
    yield PostgresContracts(database)
    await database.close()


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid4().hex}"


async def test_a_tenant_without_a_contract_has_the_defaults_as_version_0(contracts: Store, tenant: str) -> None:
    assert await contracts.current(tenant) == (0, DEFAULT)
    assert await contracts.version(tenant, 0) == DEFAULT


async def test_versions_are_numbered_and_stay_as_they_were(contracts: Store, tenant: str) -> None:
    assert [await contracts.apply(tenant, one) for one in (SEMICOLON, TAB)] == [1, 2]

    assert await contracts.current(tenant) == (2, TAB)
    assert [await contracts.version(tenant, number) for number in (0, 1, 2)] == [DEFAULT, SEMICOLON, TAB]


async def test_what_changes_nothing_is_not_stored(contracts: Store, tenant: str) -> None:
    numbers = [await contracts.apply(tenant, one) for one in (DEFAULT, SEMICOLON, SEMICOLON, DEFAULT, DEFAULT)]

    assert numbers == [0, 1, 1, 2, 2]


async def test_tenants_have_nothing_to_do_with_each_other(contracts: Store, tenant: str) -> None:
    await contracts.apply(tenant, TAB)

    assert await contracts.current(f"{tenant}x") == (0, DEFAULT)


async def test_two_who_apply_at_once_get_two_numbers(contracts: Store, tenant: str) -> None:
    numbers = await asyncio.gather(contracts.apply(tenant, SEMICOLON), contracts.apply(tenant, TAB))

    assert sorted(numbers) == [1, 2]
    assert {(await contracts.version(tenant, number)).delimiter for number in numbers} == {";", "\t"}


async def test_a_version_that_was_never_stored_is_refused(contracts: Store, tenant: str) -> None:
    with pytest.raises(Rejected) as caught:
        await contracts.version(tenant, 7)

    assert caught.value.rule == "unknown_contract"


async def test_a_stored_contract_that_is_not_understood_any_more_is_refused_and_can_be_replaced(
    ledger_url: str, tenant: str
) -> None:
    database = Database(ledger_url, pool_size=1, application_name="contracts")
    stored = PostgresContracts(database)
    async with database.connection() as connection:
        await connection.execute("INSERT INTO contract VALUES ($1, 1, $2)", tenant, {"required": ["futures"]})

    for reading in (stored.current(tenant), stored.version(tenant, 1)):
        with pytest.raises(Rejected, match=r"required\.0") as caught:
            await reading
        assert caught.value.rule == "invalid_contract"
    assert await stored.apply(tenant, SEMICOLON) == 2
    await database.close()


async def test_a_delivery_keeps_the_contract_version_it_was_registered_with(ledger: Ledger) -> None:
    source = source_of("acme", "accounts")
    name = ObjectName(tenant="acme", business_date=DAY, kind="data", entity="accounts", compression=None)

    for number in (3, 4):
        await ledger.deliveries.register(source, name, contract_version=number)
    lease = await ledger.deliveries.lease()

    assert lease is not None
    assert lease.contract_version == 3


ORPHAN = {"transactions": TRANSACTIONS + b"4,9999,t4,1,DEPOSIT\n"}
MIXED = {
    "accounts": ACCOUNTS + b"3,0014,1,CHF,0\n",
    "portfolios": FILES["portfolios"] + b"4,0014,a1b2c3d4-3333-4aaa-8bbb-0123456789ab,1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d,\n",
}
NO_ORPHAN_BLOCKS = Contract(orphans_block=())
NOTHING_MIXED = Contract(orphans_block=(), mixed_currency="block")


@pytest.mark.parametrize(
    ("files", "blocking", "applied", "state"),
    [
        (ORPHAN, DEFAULT, NO_ORPHAN_BLOCKS, "open"),
        (ORPHAN, DEFAULT, NOTHING_MIXED, "open"),
        (ORPHAN, DEFAULT, SEMICOLON, "blocked"),
        (MIXED, NOTHING_MIXED, NO_ORPHAN_BLOCKS, "open"),
        (MIXED, NOTHING_MIXED, Contract(mixed_currency="block"), "blocked"),
        (MIXED | ORPHAN, DEFAULT, NOTHING_MIXED, "blocked"),
    ],
)
async def test_a_blocked_version_goes_on_once_its_contract_allows_it(
    real_ledger: Ledger, files: dict[str, bytes], blocking: Contract, applied: Contract, state: str
) -> None:
    async def contract_of(tenant: str, version: int) -> Contract:
        return blocking

    await real_ledger.version("acme", files={**FILES, **files})
    await real_ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP), batch_count=1)
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP, batch=0, batch_count=1)
    assert not await relate(batch, work=real_ledger.work, contract_of=contract_of)

    assert real_ledger.database is not None
    await PostgresContracts(real_ledger.database).apply("acme", applied)

    async with real_ledger.sets.locked(SetKey("acme", DAY)) as locked:
        [version] = (await locked.view()).versions
    assert version.state == state
    assert await relate(batch, work=real_ledger.work, contract_of=contract_of) is (state == "open")


@pytest.mark.parametrize(("contract_version", "state"), [(0, "repeat"), (1, "judging")])
async def test_the_same_content_under_another_contract_is_no_repeat(ledger: Ledger, contract_version: int, state: str) -> None:
    await ledger.complete("acme", "accounts", ACCOUNTS, age_s=10)
    name = ObjectName(tenant="acme", business_date=DAY, kind="data", entity="accounts", compression=None)

    await ledger.deliveries.register(source_of("acme", "accounts"), name, contract_version=contract_version)
    lease = await ledger.deliveries.lease()
    assert lease is not None
    await ledger.store(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))

    assert await ledger.judgements.begin(lease.delivery_id) == state


FUTURE = {**DEFAULT.model_dump(mode="json"), "required": ["futures"]}


async def future_contract(ledger: Ledger) -> None:
    """Version 1 of acme, as a later version of the program would store it."""
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        await connection.execute("INSERT INTO contract VALUES ('acme', 1, $1)", FUTURE)


async def waiting(ledger: Ledger) -> Lease:
    """A delivery registered under version 1, put aside because nobody can read that."""
    name = ObjectName(tenant="acme", business_date=DAY, kind="data", entity="accounts", compression=None)
    await ledger.deliveries.register(source_of("acme", "accounts"), name, contract_version=1)
    lease = await ledger.deliveries.lease()
    assert lease is not None
    return lease


@pytest.mark.parametrize(
    ("has_chunks", "replacement", "version"),
    [(False, SEMICOLON, 2), (True, Contract(quarantine_threshold=1), 2), (True, SEMICOLON, None)],
)
async def test_what_waits_for_an_unreadable_contract_is_read_under_its_successor_unless_that_would_mix_two_readings(
    real_ledger: Ledger, has_chunks: bool, replacement: Contract, version: int | None
) -> None:
    await future_contract(real_ledger)
    lease = await waiting(real_ledger)
    if has_chunks:
        await real_ledger.chunks.persist(*chunks_of(lease, ACCOUNTS)[0], position=POSITION)
    await real_ledger.deliveries.put_aside(lease, {"rule": "invalid_contract", "message": "of another program"})
    assert real_ledger.database is not None

    await PostgresContracts(real_ledger.database).apply("acme", replacement)

    again = await real_ledger.deliveries.lease()
    assert (again.contract_version if again else None) == version


async def test_status_says_which_contract_can_not_be_read_and_what_waits_for_it(real_ledger: Ledger) -> None:
    await real_ledger.version("acme")
    await future_contract(real_ledger)
    await real_ledger.deliveries.put_aside(await waiting(real_ledger), {"rule": "invalid_contract", "message": "?"})
    assert real_ledger.database is not None
    status = PostgresStatus(real_ledger.database, required=required_entities(), rules=list(all_rules().values()))

    report = await status.report(tenant="acme")

    [unreadable], [one] = report.unreadable_contracts, report.sets
    assert (unreadable.tenant, unreadable.version) == ("acme", 1)
    assert unreadable.message.endswith("says what this version of the program does not know: required.0.")
    assert one.reason.startswith("accounts: waits until its contract is replaced (Contract version 1 of acme says")


async def test_a_set_whose_contract_can_not_be_read_is_blocked_by_it_unless_it_is_published(real_ledger: Ledger) -> None:
    await real_ledger.version("acme")
    await future_contract(real_ledger)
    assert real_ledger.database is not None
    status = PostgresStatus(real_ledger.database, required=required_entities(), rules=list(all_rules().values()))

    [one] = (await status.report(tenant="acme")).sets
    assert (one.state, one.waits_for) == ("blocked", ["contract"])
    async with real_ledger.sets.locked(SetKey("acme", DAY)) as locked:
        await locked.set_published(1)
    [one] = (await status.report(tenant="acme")).sets
    assert one.state == "published"


async def test_relating_waits_for_a_contract_that_can_be_read(real_ledger: Ledger) -> None:
    async def unreadable(tenant: str, version: int) -> Contract:
        raise ContractTrouble("of another program", rule="invalid_contract")

    await real_ledger.version("acme")
    await real_ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP), batch_count=1)
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP, batch=0, batch_count=1)
    assert not await relate(batch, work=real_ledger.work, contract_of=unreadable)
    assert await relate(batch, work=real_ledger.work)
