"""What a contract says of duplicates, orphans and currencies is what happens to a set."""

import json
import re
from collections.abc import Iterable
from datetime import date

import pytest

from dataharvest.adapters.memory_ledger import StoredVersion
from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import SetKey
from tests.agents.worlds import World, example_files

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES
STRAY_TRANSACTION = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b"99,99999999,t99,1,DEPOSIT\n"}
STRAY_ACCOUNT = {**FILES, ACCOUNTS: FILES[ACCOUNTS] + b"99,99999999,1,EUR,0\n"}
DOUBLED = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + FILES[TRANSACTIONS].splitlines(keepends=True)[1]}
ONE_CURRENCY = {**FILES, ACCOUNTS: re.sub(rb",[A-Z]{3},", b",EUR,", FILES[ACCOUNTS])}


async def harvested(files: dict[str, bytes], contract: Contract) -> World:
    world = World()
    await world.services.contracts.apply("acme", contract)
    async with world.agents() as agents:
        await agents.upload(files)
        await agents.run()
    assert world.dead_letters.kept == {}
    return world


def version_of(world: World) -> StoredVersion:
    [version] = world.ledger.versions[SetKey("acme", date(2026, 11, 23))]
    return version


@pytest.mark.parametrize(
    ("files", "contract", "rule"),
    [
        (FILES, Contract(), None),
        (STRAY_TRANSACTION, Contract(), "orphans"),
        (STRAY_TRANSACTION, Contract(orphans_block=()), None),
        (STRAY_ACCOUNT, Contract(), None),
        (STRAY_ACCOUNT, Contract(orphans_block=("accounts without a portfolio",)), "orphans"),
        (FILES, Contract(mixed_currency="block"), "mixed_currency"),
        (ONE_CURRENCY, Contract(mixed_currency="block"), None),
    ],
)
async def test_the_contract_says_what_blocks(files: dict[str, bytes], contract: Contract, rule: str | None) -> None:
    version = version_of(await harvested(files, contract))
    assert (version.state, (version.failure or {}).get("rule")) == ("blocked" if rule else "published", rule)


@pytest.mark.parametrize("rule", ["first_wins", "last_wins"])
async def test_a_copy_that_does_not_count_changes_no_value(rule: DuplicateRule) -> None:
    doubled = await harvested(DOUBLED, Contract(duplicates_by_entity={"transactions": rule}))
    plain = await harvested(FILES, Contract())
    assert sorted(one.value for one in doubled.outbound()) == sorted(one.value for one in plain.outbound()) != []


async def test_a_set_may_do_without_a_file_and_takes_it_in_when_it_comes() -> None:
    contract = Contract(required=("accounts", "clients", "portfolios"))
    world = World()
    await world.services.contracts.apply("acme", contract)
    async with world.agents() as agents:
        await agents.upload({name: content for name, content in FILES.items() if name != TRANSACTIONS})
        await agents.run()
        first = {one.key: json.loads(one.value) for one in world.outbound()}
        await agents.upload({TRANSACTIONS: FILES[TRANSACTIONS]})
        await agents.run()
    header_only = FILES[TRANSACTIONS].partition(b"\n")[0] + b"\n"
    empty = await harvested({**FILES, TRANSACTIONS: header_only}, Contract())
    assert values_in(first.values()) == values_in(json.loads(one.value) for one in empty.outbound())

    assert [one.state for one in world.ledger.versions[SetKey("acme", date(2026, 11, 23))]] == ["published", "published"]
    newest = {one.key: json.loads(one.value) for one in world.outbound()}
    together = await harvested(FILES, contract)
    assert version_of(together).state == "published"
    whole = await harvested(FILES, Contract())
    for one in (newest.values(), (json.loads(one.value) for one in together.outbound())):
        assert values_in(one) == values_in(json.loads(one.value) for one in whole.outbound())


def values_in(messages: Iterable[dict[str, object]]) -> list[str]:
    """What the messages say, without which version said it."""
    identity = ("message_id", "version", "supersedes")
    return sorted(json.dumps({name: one[name] for name in sorted(one) if name not in identity}) for one in messages)


async def test_duplicates_block_the_set_by_default() -> None:
    world = await harvested(DOUBLED, Contract())
    assert world.outbound() == []
    assert [one.quarantined_count for one in world.ledger.deliveries.values() if one.quarantined_count] == [2]
