"""An outage of one service, or of one thing, keeps nothing else from being repaired or decided."""

from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import pytest

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected, Unavailable
from dataharvest.objects import ObjectVersion
from dataharvest.ports import LockedSet
from tests.agents.losses import expected, first, journey, of_type, swept
from tests.agents.worlds import BUCKET, World, example_files


async def away(*_: object, **__: object) -> NoReturn:
    raise Unavailable("it does not answer")


async def test_an_outage_of_the_object_store_keeps_no_other_repair_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents, lost=first(of_type("readiness", "rule_ready")))
        with monkeypatch.context() as outage:
            outage.setattr(world.objects, "list_keys", away)
            outage.setattr(world.services.judge.judgements, "overdue", away)
            with pytest.raises(Unavailable, match="could not look for unsent judgements, objects without a delivery") as told:
                await swept(world)
        assert told.value.details["found"] == Counter({"unsent readiness": 1})
        await journey(world, agents)
    assert sorted(world.outbound()) == await expected()


async def test_data_that_is_refused_in_one_repair_keeps_no_other_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> NoReturn:
        raise Rejected("PostgreSQL refuses the data (SQLSTATE 22P05)", rule="sqlstate_22P05")

    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents, lost=first(of_type("readiness", "rule_ready")))
        with monkeypatch.context() as refusal:
            refusal.setattr(world.services.judge.judgements, "overdue", refuse)
            assert await swept(world) == {"unsent readiness": 1}
        await journey(world, agents)
    assert sorted(world.outbound()) == await expected()


async def test_one_set_that_cannot_be_decided_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(two_tenants())
        await journey(world, agents, lost=of_type("progress", "delivery_judged"))
        with monkeypatch.context() as outage:
            lock_set_of_aaa(world, outage)
            with pytest.raises(Unavailable, match="could not look for sets to be decided"):
                await swept(world)
        await journey(world, agents)
        assert {one.key.partition(b"|")[0] for one in world.outbound()} == {b"bbb"}
        assert (await swept(world))["sets to be decided"] == 1
        await journey(world, agents)
    assert {one.key.partition(b"|")[0] for one in world.outbound()} == {b"aaa", b"bbb"}


async def test_one_object_that_cannot_be_looked_at_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    head = world.objects.head

    async def failing_head(bucket: str, key: str) -> ObjectVersion | None:
        return await away() if key.startswith("acme") else await head(bucket, key)

    for tenant in ("acme", "zen"):
        await world.objects.put(BUCKET, f"{tenant}/accounts_20261123.csv", b"")
    with monkeypatch.context() as outage:
        outage.setattr(world.objects, "head", failing_head)
        with pytest.raises(Unavailable, match="objects without a delivery"):
            await swept(world)
    assert [row.tenant for row in world.ledger.deliveries.values()] == ["zen"]
    assert (await swept(world))["objects without a delivery"] == 1


def two_tenants() -> dict[str, bytes]:
    return {f"{tenant}/{key.partition('/')[2]}": data for tenant in ("aaa", "bbb") for key, data in example_files().items()}


def lock_set_of_aaa(world: World, patch: pytest.MonkeyPatch) -> None:
    """Let a worker that is frozen hold the sets of one tenant."""
    locked = world.services.sets.locked

    def locked_by_another(key: SetKey) -> AbstractAsyncContextManager[LockedSet]:
        if key.tenant == "aaa":
            raise Unavailable("its row is locked")
        return locked(key)

    patch.setattr(world.services.sets, "locked", locked_by_another)


async def test_one_set_that_cannot_be_decided_when_it_has_settled_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    world = World(settle_s=5, ledger=MemoryLedger(clock=lambda: now[0]))
    async with world.agents() as agents:
        await agents.upload(two_tenants())
        await journey(world, agents)
        await agents.upload(
            {key: data.replace(b",EREZBT", b",OTHER") for key, data in two_tenants().items() if "portfolios" in key}
        )
        await journey(world, agents)
        now[0] += 10
        with monkeypatch.context() as outage:
            lock_set_of_aaa(world, outage)
            with pytest.raises(Unavailable, match="locked"):
                await world.services.decisions.decide_settled()
        await journey(world, agents)
    assert {key.tenant: len(versions) for key, versions in world.ledger.versions.items()} == {"aaa": 1, "bbb": 2}
    assert await world.services.decisions.decide_settled() == 1
    assert {key.tenant: len(versions) for key, versions in world.ledger.versions.items()} == {"aaa": 2, "bbb": 2}
