"""Journeys on which messages get lost, and sweeps after them."""

from collections.abc import Callable
from typing import Any

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.deliveries import SetKey
from tests.agents.worlds import Agents, World, example_files

Lost = Callable[[Sent], bool]
QUIET: dict[str, int] = {}


async def journey(world: World, agents: Agents, *, lost: Lost = lambda _: False) -> list[Sent]:
    """Everything that happens by itself when these messages never arrive; returns them."""
    dropped: list[Sent] = []
    while True:
        await world.split_everything()
        fresh = [one for one in world.unread() if one.topic in ("uploads", "chunks", "progress", "readiness", "work")]
        if not fresh:
            return dropped
        for one in fresh:
            if lost(one):
                dropped.append(one)
            else:
                await agents.give(one.topic, one.value, key=one.key)


def of_type(topic: str, kind: str) -> Lost:
    """The first message of the topic with this type, and every further one of it that follows from nothing new."""
    return lambda one: one.topic == topic and f'"type":"{kind}"'.encode() in one.value.partition(b"\n")[0]


def about_deliveries(one: Sent) -> bool:
    """What sets are told of sealings and chunks; any of it would make the fold look at all deliveries of the set."""
    return of_type("progress", "delivery_sealed")(one) or of_type("progress", "chunk_persisted")(one)


def first(lost: Lost) -> Lost:
    """Only the first of them."""
    seen: list[Sent] = []

    def is_first(one: Sent) -> bool:
        if lost(one):
            seen.append(one)
        return lost(one) and len(seen) == 1

    return is_first


async def expected() -> list[Sent]:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await journey(world, agents)
    return sorted(world.outbound())


async def swept(world: World) -> dict[str, int]:
    """What a sweep found, without what it did not find."""
    return {kind: count for kind, count in (await world.services.sweep.once()).items() if count}


def remembered(world: World) -> dict[bytes, Any]:
    """What the table still knows of sets."""
    table: Any = world.app.tables["sets"]
    return dict(table)


def set_key(world: World) -> SetKey:
    row = world.ledger.deliveries[1]
    assert row.business_date is not None
    return SetKey(row.tenant, row.business_date)
