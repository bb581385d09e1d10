"""A tenant's contract on fakes, from the key to the messages: other files, the same values; other rules, another verdict."""

import json
from typing import Any

import pytest

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.contracts import Contract
from tests.agents.worlds import World, example_files
from tests.german import GERMAN, german

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES


def payloads(world: World) -> list[Any]:
    return sorted((json.loads(one.value) for one in world.outbound()), key=lambda one: one["message_id"])


async def harvested(files: dict[str, bytes], contract: Contract, *, tenant: str = "acme") -> World:
    world = World()
    await world.services.contracts.apply(tenant, contract)
    async with world.agents() as agents:
        await agents.upload(files)
        await agents.run()
    assert world.dead_letters.kept == {}
    return world


async def test_files_in_another_form_lead_to_the_same_messages() -> None:
    usual, other = await harvested(FILES, Contract()), await harvested(dict(german(*one) for one in FILES.items()), GERMAN)

    assert len(payloads(usual)) == 8
    assert payloads(other) == payloads(usual)
    assert {row.contract_version for row in other.ledger.deliveries.values()} == {1}


async def test_a_contract_of_another_tenant_changes_nothing() -> None:
    world = await harvested(FILES, GERMAN, tenant="somebody else")

    assert len(payloads(world)) == 8
    assert {row.contract_version for row in world.ledger.deliveries.values()} == {0}


BROKEN = FILES[TRANSACTIONS] + b"7,12345678,14e56792,1.2.3,DEPOSIT\n"
ORPHAN = FILES[TRANSACTIONS] + b"7,99999999,14e56792,1,DEPOSIT\n"


@pytest.mark.parametrize(
    ("transactions", "allowing"),
    [(BROKEN, Contract(quarantine_threshold=1)), (ORPHAN, Contract(orphans_block=("portfolios without a client",)))],
    ids=["quarantine", "orphans"],
)
async def test_a_contract_allows_what_the_defaults_do_not(transactions: bytes, allowing: Contract) -> None:
    files = {**FILES, TRANSACTIONS: transactions}

    assert payloads(await harvested(files, Contract())) == []
    assert len(payloads(await harvested(files, allowing))) == 8


async def test_a_client_with_accounts_in_two_currencies_blocks_where_the_contract_says_so() -> None:
    files = {**FILES, ACCOUNTS: FILES[ACCOUNTS].replace(b"0,EUR,900", b"0,CHF,900")}

    assert len(payloads(await harvested(files, Contract()))) == 8
    world = await harvested(files, Contract(mixed_currency="block"))

    assert payloads(world) == []
    [version] = next(iter(world.ledger.versions.values()))
    assert (version.state, (version.failure or {})["rule"]) == ("blocked", "mixed_currency")


async def test_a_set_that_was_held_up_is_decided_again_when_its_contract_changes() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload({**FILES, TRANSACTIONS: BROKEN})
        await agents.run()
        assert payloads(world) == []

        await world.services.contracts.apply("acme", Contract(quarantine_threshold=1))
        await world.services.sweep.once()
        await agents.run()

    assert len(payloads(world)) == 8


async def test_what_comes_while_the_contract_can_not_be_read_waits_and_goes_on_once_it_is_replaced() -> None:
    world = World()
    contracts = world.services.contracts
    assert isinstance(contracts, MemoryContracts)
    await contracts.apply("acme", Contract(quarantine_threshold=1))
    contracts.unreadable.add(("acme", 1))
    async with world.agents() as agents:
        await agents.upload({**FILES, TRANSACTIONS: BROKEN})
        await agents.run()
        assert (world.ledger.deliveries, world.dead_letters.kept) == ({}, {})

        await contracts.apply("acme", Contract(quarantine_threshold=1))
        await world.services.sweep.once()
        await agents.run()

    assert len(payloads(world)) == 8
    assert {row.contract_version for row in world.ledger.deliveries.values()} == {2}
