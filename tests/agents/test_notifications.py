"""What a tenant is told while a set goes through the journey, on fakes."""

import json
from typing import Any

from dataharvest.contracts import Contract, Webhook
from dataharvest.messages import Notification, decode_notification
from tests.agents.worlds import Agents, World, example_files

URL = "https://example.com/told"


def told(world: World) -> list[Notification]:
    return [decode_notification(one.value) for one in world.sender.sent if one.topic == "notifications"]


async def run(world: World, agents: Agents, files: dict[str, bytes]) -> list[Notification]:
    await agents.upload(files)
    await agents.run()
    return told(world)


async def test_a_set_that_goes_through_is_told_as_ready_once() -> None:
    world = World()
    async with world.agents() as agents:
        [one] = await run(world, agents, example_files())
        await world.services.sweep.once()
        await agents.run()

    assert (one.type, one.tenant, one.version) == ("set_ready", "acme", 1)
    assert told(world) == [one]
    assert len(world.outbound()) == 8


async def test_quarantine_is_told_as_blocked_and_its_repair_as_ready() -> None:
    world, files = World(), example_files()
    [key] = [key for key in files if "accounts" in key]
    async with world.agents() as agents:
        [blocked] = await run(world, agents, {**files, key: files[key].replace(b"15000.00", b"much")})
        found = await run(world, agents, {key: files[key]})

    assert (blocked.type, blocked.version, blocked.reason) == ("set_blocked", None, "1 record of accounts is in quarantine.")
    assert [one.type for one in found] == ["set_blocked", "set_ready"]


async def test_a_rejected_file_is_told_as_blocked_at_once_and_the_corrected_one_as_ready() -> None:
    world, files = World(), example_files()
    [key] = [key for key in files if "accounts" in key]
    async with world.agents() as agents:
        [rejected] = await run(world, agents, {**files, key: b"name,street\nFrida,High Street\n"})
        found = await run(world, agents, {key: files[key]})

    assert (rejected.type, rejected.version) == ("set_blocked", None)
    assert "the file of accounts" in rejected.reason
    assert "street" not in rejected.reason.lower()
    assert [one.type for one in found] == ["set_blocked", "set_ready"]


async def test_a_file_whose_name_says_no_date_is_told_of_once_to_whoever_wants_what_is_blocked() -> None:
    world = World()
    await world.services.contracts.apply("acme", Contract(webhook=Webhook(url=URL, events=("blocked",))))
    async with world.agents() as agents:
        [told_of] = await run(world, agents, {"acme/accounts.csv": b"record_id\n", "no tenant/x.csv": b"?"})
        await world.services.sweep.once()
        await agents.run()

    assert (told_of.type, told_of.tenant, told_of.business_date, told_of.key) == ("file_rejected", "acme", None, b"acme|")
    assert told_of.reason.startswith("'acme/accounts.csv' does not name a file we know")
    assert told(world) == [told_of]
    assert list(world.webhook_calls.rows) == [told_of.notification_id]


async def test_orphans_are_told_as_blocked_after_the_set_was_ready() -> None:
    world, files = World(), example_files()
    [key] = [key for key in files if "transactions" in key]
    async with world.agents() as agents:
        found = await run(world, agents, {**files, key: files[key] + b"99,00000099,orphan-1,5,DEPOSIT\n"})
        await world.services.decisions.decide(next(iter(world.ledger.versions)))
        await agents.run()

    assert [one.type for one in found] == ["set_ready", "set_blocked"]
    assert found[1].reason == "version 1 is blocked by orphans: 1 transaction without an account."
    assert told(world) == found


async def test_control_totals_that_differ_are_told_as_blocked() -> None:
    world, files = World(), example_files()
    manifest = json.dumps({"entities": {"accounts": {"records": 7}}}).encode()
    async with world.agents() as agents:
        found = await run(world, agents, {"acme/manifest_20261123.json": manifest, **files})

    assert [one.type for one in found] == ["set_blocked"]
    assert "accounts: records is 7 expected" in found[0].reason


async def test_a_notification_is_queued_for_the_tenant_s_webhook() -> None:
    world = World()
    await world.services.contracts.apply("acme", Contract(webhook=Webhook(url=URL)))
    async with world.agents() as agents:
        [one] = await run(world, agents, example_files())

    [(identity, call)] = world.webhook_calls.rows.items()
    assert identity == one.notification_id
    payload: dict[str, Any] = json.loads(call.payload)
    assert payload["notification_id"] == str(identity)
