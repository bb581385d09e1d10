"""Files in, messages out, through every agent on fakes: whatever the order, whatever comes twice, whatever is corrected."""

import json
import random
from datetime import date
from itertools import permutations
from typing import Any

import pytest

from dataharvest import pipeline
from dataharvest.adapters.memory_kafka import Sent
from dataharvest.deliveries import SetKey
from dataharvest.errors import Unavailable
from tests.agents.worlds import BUCKET, World, example_files, s3_event

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES
FRIDA, JON = "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f", "1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d"


def payloads(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(one.value) for one in world.outbound()]
    return sorted(found, key=lambda one: (one["version"], one.get("client_reference", ""), one.get("portfolio_reference", "")))


def final_values(world: World) -> dict[str, dict[str, Any]]:
    """By reference, what a consumer holds in the end."""
    held: dict[str, dict[str, Any]] = {}
    for one in payloads(world):
        reference = one.get("client_reference") or one["portfolio_reference"]
        values = {name: value for name, value in one.items() if name not in ("message_id", "version", "supersedes")}
        held[reference] = values
    return {reference: values for reference, values in held.items() if not values.get("withdrawn")}


async def harvested(files: dict[str, bytes], *, world: World | None = None) -> World:
    world = world or World()
    async with world.agents() as agents:
        await agents.upload(files)
        await agents.run()
    assert world.dead_letters.kept == {}
    return world


_expected: list[dict[str, Any]] = []


async def expected_payloads() -> list[dict[str, Any]]:
    """What the four files lead to when nothing unusual happens."""
    if not _expected:
        _expected.extend(payloads(await harvested(FILES)))
    return _expected


async def test_four_files_become_one_message_per_client_and_portfolio() -> None:
    world = await harvested(FILES)
    [frida] = [one for one in payloads(world) if one.get("client_reference") == FRIDA]
    assert {name: frida[name] for name in ("tenant", "business_date", "version", "supersedes")} == {
        "tenant": "acme",
        "business_date": "2026-11-23",
        "version": 1,
        "supersedes": None,
    }
    assert (frida["tax_free_allowance"], frida["taxes_paid"], frida["tax_free_allowance_left"]) == ("801.00", "900.00", "0.00")
    [jon] = [one for one in payloads(world) if one.get("client_reference") == JON]
    assert (jon["tax_free_allowance"], jon["taxes_paid"], jon["tax_free_allowance_left"]) == ("1602.00", "200.25", "1401.75")
    assert {one.topic for one in world.outbound()} == {"outbound.clients", "outbound.portfolios"}
    assert all(one.key.startswith(b"acme|") for one in world.outbound())
    assert len({one.value for one in world.outbound()}) == len(world.outbound())


@pytest.mark.parametrize("order", list(permutations(FILES)), ids=lambda order: "-".join(key[5:7] for key in order))
async def test_the_order_of_arrival_changes_nothing(order: tuple[str, ...]) -> None:
    world = await harvested({key: FILES[key] for key in order})
    assert payloads(world) == await expected_payloads()


@pytest.mark.parametrize("missing", FILES)
async def test_nothing_leaves_while_a_file_is_missing(missing: str) -> None:
    world = await harvested({key: content for key, content in FILES.items() if key != missing})
    assert world.outbound() == []
    assert world.ledger.versions == {SetKey("acme", date(2026, 11, 23)): []}


@pytest.mark.parametrize("chunk_bytes", [1, 30, 10_000])
async def test_the_size_of_chunks_changes_nothing(chunk_bytes: int) -> None:
    world = await harvested(FILES, world=World(chunk_bytes=chunk_bytes))
    assert payloads(world) == await expected_payloads()


async def test_every_internal_message_twice_changes_nothing() -> None:
    world = await harvested(FILES)
    expected = world.outbound()
    internal = [one for one in world.sender.sent if one.topic in pipeline.CONSUMED]
    async with world.agents() as agents:
        for key in FILES:
            await agents.give("uploads", s3_event(key))
        for one in [*internal, *reversed(internal)]:
            await agents.give(one.topic, one.value, key=one.key)
        await agents.run()
    assert world.outbound() == expected
    assert world.dead_letters.kept == {}
    assert len(world.ledger.deliveries) == len(FILES)


@pytest.mark.parametrize("seed", range(8))
async def test_any_interleaving_and_any_loss_of_the_table_gives_the_same_messages(seed: int) -> None:
    chosen = random.Random(seed)
    world = World(chunk_bytes=30)
    async with world.agents() as agents:
        await agents.upload(dict(chosen.sample(list(FILES.items()), len(FILES))))
        waiting: list[Sent] = []
        while True:
            await world.split_everything()
            waiting += [one for one in world.unread() if one.topic in pipeline.CONSUMED]
            if not waiting:
                break
            one = waiting.pop(chosen.randrange(len(waiting)))
            if chosen.random() < 0.2:
                waiting.append(one)
            if chosen.random() < 0.1:
                world.services.fold.forget()
            await agents.give(one.topic, one.value, key=one.key)
    assert payloads(world) == await expected_payloads()


async def test_the_same_file_again_publishes_nothing() -> None:
    world = await harvested(FILES)
    expected = world.outbound()
    await harvested(FILES, world=world)
    assert world.outbound() == expected
    assert sorted(one.state for one in world.ledger.deliveries.values()) == ["complete"] * 4 + ["repeat"] * 4


async def test_a_correction_publishes_only_what_changed_and_says_what_it_supersedes() -> None:
    world = await harvested(FILES)
    before = {one.get("client_reference"): one["message_id"] for one in payloads(world)}
    corrected = FILES[CLIENTS].replace(b",801", b",900")
    await harvested({CLIENTS: corrected}, world=world)
    [message] = [one for one in payloads(world) if one["version"] == 2]
    assert (message["client_reference"], message["tax_free_allowance"], message["supersedes"]) == (FRIDA, "900.00", before[FRIDA])
    await harvested({CLIENTS: FILES[CLIENTS]}, world=world)
    [message] = [one for one in payloads(world) if one["version"] == 3]
    assert (message["client_reference"], message["tax_free_allowance"]) == (FRIDA, "801.00")
    assert final_values(world) == final_values(await harvested(FILES))


async def test_corrections_end_with_the_values_of_the_last_files_alone() -> None:
    portfolios = FILES[PORTFOLIOS].splitlines(keepends=True)
    last = {
        **FILES,
        PORTFOLIOS: b"".join(portfolios[:-1]),
        TRANSACTIONS: FILES[TRANSACTIONS] + b"99,23456789,t99,0.01,DEPOSIT\n",
    }
    world = await harvested(FILES)
    await harvested(last, world=world)
    assert any(one.get("withdrawn") for one in payloads(world))
    assert final_values(world) == final_values(await harvested(last))


async def test_a_bad_record_blocks_the_set_until_a_good_file_comes() -> None:
    bad = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b"99,23456789,t99,NaN,DEPOSIT\n"}
    world = await harvested(bad)
    assert world.outbound() == []
    assert sum(one.quarantined_count for one in world.ledger.deliveries.values()) == 1
    await harvested({TRANSACTIONS: FILES[TRANSACTIONS]}, world=world)
    assert final_values(world) == final_values(await harvested(FILES))


async def test_records_that_hang_in_the_air_block_the_set() -> None:
    world = await harvested({**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b"99,99999999,t99,1,DEPOSIT\n"})
    assert world.outbound() == []
    [version] = next(iter(world.ledger.versions.values()))
    assert (version.state, version.failure) == ("blocked", {"rule": "orphans", "message": "1 transaction without an account"})


async def test_a_header_alone_is_a_complete_delivery_of_nothing() -> None:
    world = await harvested({**FILES, TRANSACTIONS: FILES[TRANSACTIONS].partition(b"\n")[0] + b"\n"})
    portfolios = [one for one in payloads(world) if "portfolio_reference" in one]
    assert {(one["number_of_transactions"], one["sum_of_deposits"]) for one in portfolios} == {(0, "0.00")}


async def test_an_unknown_key_is_a_rejected_delivery_and_no_dead_letter() -> None:
    world = await harvested({"acme/readme.txt": b"hello", "acme/folder/": b""})
    [delivery] = world.ledger.deliveries.values()
    assert (delivery.tenant, delivery.state) == ("acme", "rejected")


async def test_tenants_and_dates_are_kept_apart() -> None:
    other_date = {key.replace("20261123", "20261124"): content for key, content in FILES.items()}
    other_tenant = {key.replace("acme", "zen"): content for key, content in FILES.items()}
    world = await harvested({**FILES, **other_date, **other_tenant})
    assert {(one["tenant"], one["business_date"]) for one in payloads(world)} == {
        ("acme", "2026-11-23"),
        ("acme", "2026-11-24"),
        ("zen", "2026-11-23"),
    }
    assert len({one["message_id"] for one in payloads(world)}) == len(payloads(world)) == 3 * len(await expected_payloads())


@pytest.mark.parametrize("topic", ["progress", "readiness", "work", "outbound.clients"])
async def test_a_send_that_fails_is_made_up_for(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    failures = {topic}

    async def fail_once(of: str) -> None:
        if of in failures:
            failures.discard(of)
            raise Unavailable("Kafka")

    send, send_many = world.sender.send, world.sender.send_many

    async def stubborn_send(to: str, **message: bytes) -> None:
        await fail_once(to)
        await send(to, **message)

    async def stubborn_send_many(to: str, messages: list[tuple[bytes, bytes]]) -> None:
        await fail_once(to)
        await send_many(to, messages)

    async with world.agents() as agents:
        await agents.upload(FILES)
        await world.split_everything()
        monkeypatch.setattr(world.sender, "send", stubborn_send)
        monkeypatch.setattr(world.sender, "send_many", stubborn_send_many)
        await agents.run()
    assert failures == set()
    assert payloads(world) == await expected_payloads()


async def test_an_event_that_got_lost_is_found_by_the_sweep() -> None:
    world = World()
    for key, content in FILES.items():
        await world.objects.put(BUCKET, key, content)
    assert (await world.services.sweep.once())["objects without a delivery"] == len(FILES)
    assert (await world.services.sweep.once())["objects without a delivery"] == 0
    async with world.agents() as agents:
        await agents.run()
    assert payloads(world) == await expected_payloads()
