"""Control totals through every agent on fakes: what agrees goes out, what differs goes nowhere until it is corrected."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest

from dataharvest.adapters.memory_ledger import StoredManifest
from dataharvest.adapters.memory_manifests import MemoryManifests
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.messages import decode_progress
from dataharvest.objects import PART_BYTES, ObjectVersion
from dataharvest.rules.manifest import read_manifest
from tests.agents.worlds import Agents, World, example_files, s3_event

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES
DAY = ACCOUNTS.rpartition("_")[2].removesuffix(".csv")
KEY = f"acme/manifest_{DAY}.json"


def manifest(**accounts: Any) -> dict[str, bytes]:
    return {KEY: json.dumps({"entities": {"accounts": accounts}}).encode()}


def record_count(content: bytes) -> int:
    return content.count(b"\n") - 1


GOOD = manifest(records=record_count(FILES[ACCOUNTS]))
WRONG = manifest(records=record_count(FILES[ACCOUNTS]) + 1)
FEWER = {ACCOUNTS: FILES[ACCOUNTS].replace(b"\n", b"\n\n", 2).replace(b".00", b".01", 1)}


class Story:
    """A world, its running agents and what came of it."""

    def __init__(self, world: World, agents: Agents) -> None:
        self.world = world
        self.agents = agents

    async def upload(self, *files: dict[str, bytes]) -> None:
        for one in files:
            await self.agents.upload(one)
        await self.agents.run()
        assert self.world.dead_letters.kept == {}

    @property
    def key(self) -> SetKey:
        [key] = {SetKey(one.tenant, one.business_date) for one in self.world.ledger.deliveries.values() if one.business_date}
        return key

    @property
    def problem(self) -> tuple[str, str] | None:
        found = self.world.ledger.problems.get(self.key)
        return (found["rule"], found["state"]) if found else None

    @property
    def versions(self) -> list[tuple[int, str]]:
        return [(one.version, one.state) for one in self.world.ledger.versions.get(self.key, [])]

    @property
    def sent_count(self) -> int:
        return len(self.world.outbound())


@pytest.fixture
async def story() -> Any:
    world = World()
    async with world.agents() as agents:
        yield Story(world, agents)


@pytest.mark.parametrize("order", [(GOOD, FILES), (FILES, GOOD)])
async def test_totals_that_agree_let_the_set_go_out(story: Story, order: tuple[dict[str, bytes], ...]) -> None:
    await story.upload(*order)
    assert (story.problem, story.versions) == (None, [(1, "published")])
    assert story.sent_count > 0


async def test_totals_that_differ_block_the_set_until_the_manifest_is_corrected(story: Story) -> None:
    await story.upload(WRONG, FILES)
    assert (story.problem, story.versions, story.sent_count) == (("control_totals", "blocked"), [], 0)
    await story.upload(GOOD)
    assert (story.problem, story.versions) == (None, [(1, "published")])


async def test_totals_that_differ_block_the_set_until_the_file_is_corrected(story: Story) -> None:
    await story.upload(manifest(sha256=sha256(FEWER[ACCOUNTS]).hexdigest()), FILES)
    assert (story.problem, story.sent_count) == (("control_totals", "blocked"), 0)
    await story.upload(FEWER)
    assert (story.problem, story.versions) == (None, [(1, "published")])


async def test_a_late_difference_disputes_the_set_and_the_published_version_stands(story: Story) -> None:
    await story.upload(FILES)
    before = story.sent_count
    await story.upload(WRONG)
    assert (story.problem, story.versions) == (("control_totals", "disputed"), [(1, "published")])
    await story.upload(FEWER)
    assert (story.problem, story.versions, story.sent_count) == (("control_totals", "disputed"), [(1, "published")], before)
    await story.upload(GOOD)
    assert (story.problem, story.versions) == (None, [(1, "published"), (2, "published")])
    assert story.sent_count > before


async def test_a_required_manifest_is_waited_for(story: Story) -> None:
    await story.world.services.contracts.apply("acme", Contract(manifest="required"))
    await story.upload(FILES)
    assert (story.problem, story.versions) == (("manifest_required", "waits"), [])
    await story.upload({KEY: b"{"})
    assert (story.problem, story.versions) == (("manifest_required", "waits"), [])
    await story.upload(GOOD)
    assert (story.problem, story.versions) == (None, [(1, "published")])


async def test_manifests_are_ignored_where_the_contract_says_so(story: Story) -> None:
    await story.world.services.contracts.apply("acme", Contract(manifest="none"))
    await story.upload(WRONG, FILES)
    assert (story.problem, story.versions) == (None, [(1, "published")])


async def test_a_manifest_that_cannot_be_used_is_kept_with_its_reason_and_stops_nothing(story: Story) -> None:
    await story.upload({KEY: b'{"entities": {"account": {}}, "x": 1}'}, FILES)
    assert story.versions == [(1, "published")]
    [row] = story.world.ledger.manifests
    assert isinstance(row.outcome, Rejected)
    assert len(row.outcome.details["problems"]) == 3  # type: ignore[arg-type]


async def test_a_version_under_way_is_held_back_by_a_manifest_that_comes_before_it_goes_out(story: Story) -> None:
    world, agents = story.world, story.agents
    await agents.upload(FILES)
    await world.split_everything()
    fresh = world.unread()
    while fresh and not any(one.topic == "readiness" for one in fresh):
        for one in fresh:
            await agents.give(one.topic, one.value, key=one.key)
        fresh = world.unread()
    await agents.upload(WRONG)
    for one in [*world.unread(), *fresh]:
        await agents.give(one.topic, one.value, key=one.key)
    await agents.run()
    assert (story.problem, story.versions, story.sent_count) == (("control_totals", "blocked"), [(1, "open")], 0)
    await story.upload(GOOD)
    assert (story.problem, story.versions) == (None, [(1, "published")])


async def test_a_manifest_heard_of_twice_is_kept_once_and_told_twice(story: Story) -> None:
    await story.upload(FILES, GOOD)
    await story.agents.give("uploads", s3_event(KEY))
    assert [type(one) for one in story.world.ledger.manifests] == [StoredManifest]
    told = [decode_progress(one.value) for one in story.world.sender.sent if b"manifest_read" in one.value]
    assert len(told) == 2
    assert told[0] == told[1]


async def test_the_sweep_leaves_manifests_alone_that_it_knows(story: Story) -> None:
    await story.upload(FILES, GOOD)
    assert (await story.world.services.sweep.once()).total() == 0
    await story.world.objects.put("uploads", KEY, WRONG[KEY])
    assert (await story.world.services.sweep.once())["objects without a delivery"] == 1
    await story.agents.run()
    assert story.problem == ("control_totals", "disputed")


async def test_the_sweep_tells_the_set_of_a_manifest_whose_keeper_ended_before_telling(story: Story) -> None:
    await story.upload(FILES)
    await story.world.objects.put("uploads", KEY, WRONG[KEY])
    source = await story.world.objects.head("uploads", KEY)
    assert source is not None
    await MemoryManifests(story.world.ledger).insert(story.key, source, read_manifest(WRONG[KEY]))
    assert (await story.world.services.sweep.once())["untold manifests"] == 1
    await story.agents.run()
    assert story.problem == ("control_totals", "disputed")
    assert (await story.world.services.sweep.once()).total() == 0


async def test_a_manifest_that_vouches_for_every_file_ends_the_wait_for_further_corrections(story: Story) -> None:
    await story.upload(FILES)
    story.world.services.decisions.settle_s = 3600.0
    totals: dict[str, dict[str, Any]] = {
        name.split("/")[1].split("_")[0]: {"records": record_count(content)} for name, content in FILES.items()
    }
    totals["accounts"] = {"sha256": sha256(FEWER[ACCOUNTS]).hexdigest()}
    await story.upload(FEWER)
    assert story.versions == [(1, "published")]
    await story.upload({KEY: json.dumps({"entities": totals}).encode()})
    assert story.versions == [(1, "published"), (2, "published")]


class TroubledStore(MemoryObjectStore):
    """A store whose objects can be looked at and not read."""

    code = 404

    async def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = PART_BYTES) -> AsyncIterator[bytes]:
        raise ObjectTrouble("not now", code=self.code)
        yield b""


@pytest.mark.parametrize(("code", "dead_letters"), [(403, 1), (404, 0), (412, 0)])
async def test_an_object_that_is_gone_is_no_dead_letter_and_a_forbidden_one_is(code: int, dead_letters: int) -> None:
    store = TroubledStore(versioned=True)
    store.code = code
    world = World(objects=store)
    async with world.agents() as agents:
        await agents.upload(GOOD)
    assert len(world.dead_letters.kept) == dead_letters
    assert world.ledger.manifests == []
