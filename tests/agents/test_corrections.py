"""Corrections, whenever they come: files corrected together make one version, and the last files' values hold in the end."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import permutations
from typing import Any

import pytest

from dataharvest import pipeline
from dataharvest.adapters.memory_kafka import Sent
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.deliveries import SetKey
from dataharvest.messages import EditionRaised
from dataharvest.objects import ObjectVersion
from tests.agents.losses import first, journey, of_type, swept
from tests.agents.worlds import BUCKET, Agents, World, example_files, s3_event

FILES = example_files()
ACCOUNTS, CLIENTS, PORTFOLIOS, TRANSACTIONS = FILES
KEY = SetKey("acme", date(2026, 11, 23))
CORRECTED = {
    ACCOUNTS: FILES[ACCOUNTS].replace(b"EUR,", b"CHF,", 1),
    CLIENTS: FILES[CLIENTS].replace(b",801", b",900"),
    PORTFOLIOS: b"".join(FILES[PORTFOLIOS].splitlines(keepends=True)[:-1]),
    TRANSACTIONS: FILES[TRANSACTIONS] + b"99,23456789,t99,0.01,DEPOSIT\n",
}
SETTLE_S = 5.0


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Story:
    """A world in which time stands still."""

    versioned: bool = True
    settle_s: float = SETTLE_S
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.world = World(
            chunk_bytes=60,
            settle_s=self.settle_s,
            ledger=MemoryLedger(clock=self.clock),
            objects=MemoryObjectStore(versioned=self.versioned),
        )

    async def upload(self, *uploads: dict[str, bytes], passing_s: float = 60.0) -> None:
        """Upload, one after the other; let time pass after each."""
        async with self.world.agents() as agents:
            for files in uploads:
                await agents.upload(files)
                await agents.run()
                self.clock.now += passing_s
                await agents.run()
        assert self.world.dead_letters.kept == {}

    def version_states(self) -> list[str]:
        return [one.state for one in self.world.ledger.versions[KEY]]

    def delivery_states(self) -> list[str]:
        return [one.state for _, one in sorted(self.world.ledger.deliveries.items())]

    def held(self) -> dict[str, dict[str, Any]]:
        """By reference, what a consumer holds in the end."""
        found: dict[str, dict[str, Any]] = {}
        for one in sorted((json.loads(one.value) for one in self.world.outbound()), key=lambda one: int(one["version"])):
            values = {name: value for name, value in one.items() if name not in ("message_id", "version", "supersedes")}
            found[one.get("client_reference") or one["portfolio_reference"]] = values
        return {reference: values for reference, values in found.items() if not values.get("withdrawn")}


async def values_of(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """What these files alone lead to."""
    story = Story()
    await story.upload(files)
    assert story.held()
    return story.held()


async def test_files_corrected_together_make_one_version() -> None:
    story = Story()
    await story.upload(FILES)
    await story.upload(*({key: CORRECTED[key]} for key in FILES), passing_s=SETTLE_S - 1)
    assert story.version_states() == ["published"]
    await story.upload({}, passing_s=1.1)
    assert story.version_states() == ["published", "published"]
    assert story.held() == await values_of(CORRECTED)


async def test_files_corrected_one_by_one_make_a_version_each() -> None:
    story = Story()
    await story.upload(FILES, *({key: CORRECTED[key]} for key in FILES), passing_s=SETTLE_S)
    assert story.version_states() == ["published"] * 5
    assert story.held() == await values_of(CORRECTED)


async def test_a_timer_that_got_lost_is_found() -> None:
    story = Story()
    await story.upload(FILES)
    await story.upload({CLIENTS: CORRECTED[CLIENTS]}, passing_s=0)
    story.world.services.decisions._later.clear()
    sets = story.world.services.sets
    assert await sets.sets_due(settle_s=SETTLE_S) == []
    story.clock.now += SETTLE_S
    assert await sets.sets_due(settle_s=SETTLE_S) == [KEY]
    await story.world.services.decisions.decide(KEY)
    await story.upload({})
    assert await sets.sets_due(settle_s=SETTLE_S) == []
    assert story.held() == await values_of({**FILES, CLIENTS: CORRECTED[CLIENTS]})


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("key", FILES)
async def test_back_to_the_first_content_publishes_the_first_values_again(key: str, versioned: bool) -> None:
    story = Story(versioned=versioned)
    await story.upload(FILES, {key: CORRECTED[key]}, {key: FILES[key]})
    assert story.version_states() == ["published"] * 3
    assert story.held() == await values_of(FILES)


async def read_in_turn(story: Story, *uploads: dict[str, bytes], turns: tuple[int, ...]) -> None:
    """Upload, and read what is new in another order, each to its end before the next one is begun."""
    world = story.world
    async with world.agents() as agents:
        for files in uploads:
            await agents.upload(files)
        leases = [await world.services.deliveries.lease() for _ in uploads]
        for turn in turns:
            lease = leases[turn]
            assert lease is not None
            await world.services.splitter.split(lease)
            await agents.run()
            story.clock.now += 2 * SETTLE_S
            await agents.run()


@pytest.mark.parametrize("turns", list(permutations(range(2))))
async def test_the_same_content_twice_while_both_are_read_publishes_nothing(turns: tuple[int, ...]) -> None:
    story = Story()
    await story.upload(FILES)
    sent = story.world.outbound()
    await read_in_turn(story, {ACCOUNTS: FILES[ACCOUNTS]}, {ACCOUNTS: FILES[ACCOUNTS]}, turns=turns)
    assert story.world.outbound() == sent


@pytest.mark.parametrize("turns", list(permutations(range(3))))
async def test_a_repeat_and_a_correction_read_at_once_end_in_the_corrected_values(turns: tuple[int, ...]) -> None:
    story = Story()
    await story.upload(FILES)
    again = {ACCOUNTS: FILES[ACCOUNTS]}
    await read_in_turn(story, again, again, {CLIENTS: CORRECTED[CLIENTS]}, turns=turns)
    assert story.held() == await values_of({**FILES, CLIENTS: CORRECTED[CLIENTS]})


@pytest.mark.parametrize("turns", list(permutations(range(3))))
@pytest.mark.parametrize("contents", ["bab", "aba", "bba", "baa", "abb"])
async def test_contents_to_and_fro_that_are_read_at_once_end_in_the_newest_ones_values(
    contents: str, turns: tuple[int, ...]
) -> None:
    story = Story()
    await story.upload(FILES)
    files = {"a": {ACCOUNTS: FILES[ACCOUNTS]}, "b": {ACCOUNTS: CORRECTED[ACCOUNTS]}}
    await read_in_turn(story, *(files[one] for one in contents), turns=turns)
    assert story.held() == await values_of({**FILES, **files[contents[-1]]})


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("seed", range(25))
async def test_corrections_at_any_moment_end_in_the_last_files_values(seed: int, versioned: bool) -> None:
    chosen = random.Random(seed)
    story = Story(versioned=versioned)
    last = dict(FILES)
    async with story.world.agents() as agents:
        waiting: list[Sent] = []
        await agents.upload(FILES)
        for _ in range(chosen.randint(1, 3)):
            await _advance(story, agents, waiting, chosen, steps=chosen.choice([0, 3, 20, 60, 100, 140]))
            key = chosen.choice(list(FILES))
            last[key] = chosen.choice([FILES[key], CORRECTED[key]])
            await agents.upload({key: last[key]})
        await _advance(story, agents, waiting, chosen, steps=10_000)
    assert story.held() == await values_of(last)
    assert set(story.version_states()) <= {"published", "cancelled"}
    assert story.world.dead_letters.kept == {}


async def _advance(story: Story, agents: Agents, waiting: list[Sent], chosen: random.Random, *, steps: int) -> None:
    """Deliver so many messages in any order, some of them twice, with time passing now and then."""
    for _ in range(steps):
        story.clock.now += chosen.choice([0, 0, 0, 1.5])
        await story.world.split_everything()
        await story.world.services.decisions.decide_settled()
        waiting += [one for one in story.world.unread() if one.topic in pipeline.CONSUMED]
        if waiting:
            one = waiting.pop(chosen.randrange(len(waiting)))
            if chosen.random() < 0.1:
                waiting.append(one)
            await agents.give(one.topic, one.value, key=one.key)
        elif steps > 1000 and not story.world.services.decisions._later:
            return


async def test_a_correction_is_published_although_an_older_one_lost_a_chunk_and_its_object() -> None:
    world = World(objects=MemoryObjectStore(versioned=False))
    last = CORRECTED[CLIENTS].replace(b",900", b",950")
    async with world.agents() as agents:
        await agents.upload(FILES)
        await journey(world, agents)
        await agents.upload({CLIENTS: CORRECTED[CLIENTS]})
        assert await journey(world, agents, lost=first(of_type("chunks", "chunk"))) != []
        await agents.upload({CLIENTS: last})
        stuck = world.ledger.deliveries[len(FILES) + 1]
        assert "missing chunks" not in await swept(world)
        assert (stuck.state, (stuck.failure or {})["rule"]) == ("sealed", "object_412")
        await journey(world, agents)
        assert [one.state for one in world.ledger.versions[KEY]] == ["published", "published"]
        assert stuck.state == "superseded"
        assert await swept(world) == {"deliveries with rows to remove": 2}
        assert await swept(world) == {}
    [*_, message] = [json.loads(one.value) for one in world.outbound() if one.topic == "outbound.clients"]
    assert message["tax_free_allowance"] == "950.00"


@pytest.mark.parametrize("is_swept", [False, True])
async def test_back_to_the_first_content_within_one_second_ends_in_its_values(is_swept: bool) -> None:
    story = Story(versioned=False)
    story.world.objects.seconds_per_put = 0.01
    await story.upload(FILES, {CLIENTS: CORRECTED[CLIENTS]})
    if is_swept:
        await story.world.objects.put(BUCKET, CLIENTS, FILES[CLIENTS])
        assert (await swept(story.world))["objects without a delivery"] == 1
        assert "objects without a delivery" not in await swept(story.world)
        await story.upload({})
    else:
        await story.upload({CLIENTS: FILES[CLIENTS]}, {CLIENTS: FILES[CLIENTS]})
    assert story.version_states() == ["published"] * 3
    assert story.held() == await values_of(FILES)


async def test_an_event_that_comes_late_brings_no_content_back() -> None:
    story = Story(versioned=False)
    objects = story.world.objects
    objects.seconds_per_put = 0.01
    await story.upload(FILES)
    old = await objects.head(BUCKET, CLIENTS)
    await story.upload({CLIENTS: CORRECTED[CLIENTS]})
    looks = [old]

    async def head(bucket: str, key: str) -> ObjectVersion | None:
        return looks.pop() if looks else await MemoryObjectStore.head(objects, bucket, key)

    objects.head = head  # type: ignore[method-assign]
    async with story.world.agents() as agents:
        await agents.give("uploads", s3_event(CLIENTS))
    assert looks == []
    assert len(story.world.ledger.deliveries) == len(FILES) + 1


def manifest_of(files: dict[str, bytes], *, hashes: bool = False) -> dict[str, bytes]:
    """Control totals that name every file: its number of records, or its hash."""
    entities = {
        key.partition("/")[2].partition("_")[0]: {"sha256": sha256(content).hexdigest()}
        if hashes
        else {"records": content.count(b"\n") - 1}
        for key, content in files.items()
    }
    return {f"acme/manifest_{ACCOUNTS.rpartition('_')[2].removesuffix('.csv')}.json": json.dumps({"entities": entities}).encode()}


async def test_a_manifest_of_counts_from_the_first_files_makes_no_version_of_half_a_correction() -> None:
    story = Story()
    await story.upload(FILES, manifest_of(FILES))
    corrected = {key: CORRECTED[key] for key in (ACCOUNTS, CLIENTS)}
    await story.upload(*({key: content} for key, content in corrected.items()), passing_s=SETTLE_S - 1)
    assert story.version_states() == ["published"]
    await story.upload({}, passing_s=SETTLE_S)
    assert story.version_states() == ["published", "published"]
    assert story.held() == await values_of({**FILES, **corrected})


@pytest.mark.parametrize("hashes", [False, True])
async def test_a_corrected_manifest_makes_the_version_at_once(hashes: bool) -> None:
    story = Story()
    corrected = {**FILES, ACCOUNTS: CORRECTED[ACCOUNTS], CLIENTS: CORRECTED[CLIENTS]}
    await story.upload(FILES, manifest_of(FILES, hashes=hashes))
    files = [{key: corrected[key]} for key in (ACCOUNTS, CLIENTS)]
    manifest = manifest_of(corrected, hashes=hashes)
    await story.upload(*([manifest, *files] if hashes else [*files, manifest]), passing_s=0)
    assert story.version_states() == ["published", "published"]
    assert story.held() == await values_of(corrected)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "rejected": lambda content: b"no header at all\n" + content,
    "quarantined": lambda content: content + b"77,x,y\n",
    "with duplicates": lambda content: content + content.splitlines(keepends=True)[1],
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("key", FILES)
async def test_a_broken_correction_leaves_what_is_published_standing(key: str, fault: str) -> None:
    story = Story()
    await story.upload(FILES, {key: BROKEN[fault](FILES[key])})
    assert story.version_states() == ["published"]
    assert story.held() == await values_of(FILES)
    await story.upload({key: CORRECTED[key]})
    assert story.held() == await values_of({**FILES, key: CORRECTED[key]})


async def test_rows_that_no_version_needs_are_removed_and_the_ledger_stays() -> None:
    story = Story()
    await story.upload(FILES, {CLIENTS: CORRECTED[CLIENTS]})
    [old] = [one for one in story.world.ledger.deliveries.values() if one.state == "superseded"]
    assert old.is_removed
    assert old.chunks
    assert not any(one.is_removed for one in story.world.ledger.deliveries.values() if one is not old)


async def test_all_chunks_once_more_change_no_row() -> None:
    story = Story()
    repeat, rejected = {TRANSACTIONS: FILES[TRANSACTIONS]}, {ACCOUNTS: b"no header\n1\n"}
    correction, doubled = {CLIENTS: CORRECTED[CLIENTS]}, {PORTFOLIOS: BROKEN["with duplicates"](FILES[PORTFOLIOS])}
    await story.upload(FILES, repeat, rejected, correction, doubled)
    assert {"complete", "repeat", "rejected", "superseded"} <= set(story.delivery_states())
    before = deepcopy(_stored(story.world.ledger.deliveries)), story.world.outbound()
    async with story.world.agents() as agents:
        for one in [one for one in story.world.sender.sent if one.topic == "chunks"]:
            await agents.give("chunks", one.value, key=one.key)
        await agents.run()
    assert (_stored(story.world.ledger.deliveries), story.world.outbound()) == before


def _stored(deliveries: dict[int, StoredDelivery]) -> dict[int, Any]:
    return {number: (one.state, one.chunks, one.duplicates, one.is_removed) for number, one in deliveries.items()}


async def raise_edition(story: Story) -> EditionRaised:
    async with story.world.services.sets.locked(KEY) as locked:
        return EditionRaised(tenant=KEY.tenant, business_date=KEY.business_date, edition=await locked.raise_edition())


async def test_a_new_edition_makes_a_version_at_once_and_publishes_only_what_changed() -> None:
    story = Story()
    await story.upload(FILES)
    published = len(story.world.outbound())
    raised = await raise_edition(story)
    for _ in range(2):
        await story.world.services.sender.send("progress", key=raised.key, value=raised.encode())
    await story.upload({})
    assert story.version_states() == ["published", "published"]
    assert len(story.world.outbound()) == published


async def test_a_new_edition_nobody_told_of_is_found() -> None:
    story = Story()
    await story.upload(FILES)
    await raise_edition(story)
    await story.upload({})
    assert story.version_states() == ["published"]
    assert await story.world.services.sweep.once() is not None
    await story.upload({})
    assert story.version_states() == ["published", "published"]
