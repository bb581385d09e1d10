"""Two at the same thing at the same moment, on a real database: one wins cleanly, the other is told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.contracts import Contract
from dataharvest.errors import Rejected
from dataharvest.quarantine import Entry, Selection, Signature
from dataharvest.stages.repair import Repairs
from dataharvest.stages.repair_report import Report
from tests.agents.test_corrections import CORRECTED, FILES, TRANSACTIONS, Story
from tests.contract.database_world import DatabaseStory, DatabaseWorld
from tests.contract.ledgers import Ledger

ANNA, BEN = Signature(who="anna", why="the bank called"), Signature(who="ben", why="the bank wrote")
BAD = {**FILES, TRANSACTIONS: FILES[TRANSACTIONS] + b'97,23456789,t97,"4,25",DEPOSIT\n98,23456789,t98,"5,5",DEPOSIT\n'}
STORED = (
    *("delivery", "chunk", "quarantine", "repair", "set_version", "set_version_delivery", "fact", "readiness", "batch"),
    *("link", "value", "outbound", "row_accounts", "row_clients", "row_portfolios", "row_transactions"),
)


@pytest.fixture
def story(real_ledger: Ledger) -> DatabaseStory:
    assert real_ledger.database
    return DatabaseStory(DatabaseWorld(real_ledger, real_ledger.database))


class MeanwhileContracts(PostgresContracts):
    """Something happens while somebody who has chosen entries looks the contract up."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def current(self, tenant: str) -> tuple[int, Contract]:
        """See the port."""
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return await super().current(tenant)


async def test_of_two_who_fix_one_record_at_the_same_moment_one_wins_and_the_other_is_told(story: DatabaseStory) -> None:
    await story.upload(BAD)
    first, _ = await entries_of(story)
    fixes = [
        story.world.repairs.fix({first.quarantine_id: f"97,23456789,{key},4.25,DEPOSIT".encode()}, by=by)
        for key, by in (("t97", ANNA), ("t-97", BEN))
    ]
    done = await asyncio.gather(*fixes, return_exceptions=True)
    [won] = [one for one in done if isinstance(one, Report)]
    [lost] = [one for one in done if isinstance(one, Rejected)]
    [line] = await story.world.quarantine.history(Selection(ids=(first.quarantine_id,)), limit=9)
    assert [one.result for one in won.outcomes] == ["fixed"]
    assert lost.rule == "settled"
    assert f"is fixed by {line.who} at " in lost.message
    assert "nothing was changed; `dataharvest quarantine history" in lost.message
    keys = await column(story, "SELECT transaction_reference FROM row_transactions WHERE transaction_reference LIKE 't%97'")
    assert keys == ["t97" if line.who == "anna" else "t-97"]


async def test_a_fix_during_a_replay_wins_and_the_replay_changes_nothing_and_says_so(story: DatabaseStory) -> None:
    await story.upload(BAD)
    first, second = await entries_of(story)
    contracts, repairs = await replaying(story)
    fixed = {first.quarantine_id: b"97,23456789,t97,1.00,DEPOSIT"}
    contracts.meanwhile = lambda: story.world.repairs.fix(fixed, by=ANNA)
    with pytest.raises(Rejected, match=r"is fixed by anna at .*: nothing was changed") as lost:
        await repairs.replay(Selection(tenant="acme", state="open"), by=BEN)
    assert lost.value.rule == "settled"
    assert [one.state for one in await entries_of(story)] == ["fixed", "open"]

    again = await repairs.replay(Selection(tenant="acme", state="open"), by=BEN)
    assert [(one.entry.quarantine_id, one.result) for one in again.outcomes] == [(second.quarantine_id, "fixed")]
    await story.upload({})
    assert await amounts(story) == ["1.0000", "5.5000"]
    assert await column(story, "SELECT state FROM set_version") == ["published"]


async def test_two_replays_at_the_same_moment_store_every_record_once(story: DatabaseStory) -> None:
    await story.upload(BAD)
    _, repairs = await replaying(story)
    both = [repairs.replay(Selection(tenant="acme", state="open"), by=by) for by in (ANNA, BEN)]
    done = await asyncio.gather(*both, return_exceptions=True)
    [won] = [one for one in done if isinstance(one, Report) and one.editions]
    [lost] = [one for one in done if one is not won]
    line, *_ = await story.world.quarantine.history(Selection(tenant="acme"), limit=9)
    assert [one.result for one in won.outcomes] == ["fixed", "fixed"]
    if isinstance(lost, Report):
        # It came a moment later and found nothing open.
        assert [one.result for one in lost.outcomes] == ["unchanged", "unchanged"]
        assert all(f"fixed by {line.who} at " in one.message for one in lost.outcomes)
    else:
        assert isinstance(lost, Rejected)
        assert lost.rule == "settled"
        assert f"is fixed by {line.who} at " in lost.message
    await story.upload({})
    assert await amounts(story) == ["4.2500", "5.5000"]


@pytest.mark.parametrize("place", ["before it is split", "while it is stored", "before it is judged"])
async def test_a_replay_of_every_topic_while_a_correction_is_loading_changes_nothing(story: DatabaseStory, place: str) -> None:
    await story.upload(FILES)
    sent = [one for one in story.world.sender.sent if not one.topic.startswith("outbound.")]
    world = story.world
    async with world.agents() as agents:

        async def everything_again() -> None:
            for one in sent:
                await agents.give(one.topic, one.value, key=one.key, headers=one.headers)

        await agents.upload({TRANSACTIONS: CORRECTED[TRANSACTIONS]})
        if place == "before it is split":
            await everything_again()
        await world.split_everything()
        fresh = world.unread()
        chunks = [one for one in fresh if one.topic == "chunks"]
        assert len(chunks) > 1
        for one in fresh[: fresh.index(chunks[-1])]:
            await agents.give(one.topic, one.value, key=one.key)
        if place == "while it is stored":
            await everything_again()
        for one in fresh[fresh.index(chunks[-1]) :]:
            await agents.give(one.topic, one.value, key=one.key)
        if place == "before it is judged":
            await everything_again()
    await story.upload({})
    with_replay = len(world.outbound())
    assert await column(story, "SELECT state FROM set_version ORDER BY version") == ["published", "published"]
    plain = Story(settle_s=0.0)
    await plain.upload(FILES, {TRANSACTIONS: CORRECTED[TRANSACTIONS]})
    assert story.held() == plain.held()
    assert with_replay == len(plain.world.outbound())
    before = await stored(story)
    async with world.agents() as agents:
        for one in list(world.sender.sent):
            if not one.topic.startswith("outbound."):
                await agents.give(one.topic, one.value, key=one.key, headers=one.headers)
        await agents.run()
    assert (await stored(story), len(world.outbound())) == (before, with_replay)


async def replaying(story: DatabaseStory) -> tuple[MeanwhileContracts, Repairs]:
    """Repairs under a contract with decimal commas."""
    world = story.world
    assert isinstance(world, DatabaseWorld)
    contracts = MeanwhileContracts(world.database)
    await contracts.apply("acme", Contract.model_validate({"decimal_mark": ","}))
    return contracts, Repairs(quarantine=world.quarantine, contracts=contracts, objects=world.objects, sender=world.sender)


async def entries_of(story: DatabaseStory) -> list[Entry]:
    return await story.world.quarantine.entries(Selection(tenant="acme"))


async def amounts(story: DatabaseStory) -> list[str]:
    """Of the records that were bad."""
    statement = "SELECT amount::text FROM row_transactions WHERE transaction_reference IN ('t97', 't98') ORDER BY 1"
    return await column(story, statement)


async def column(story: DatabaseStory, statement: str) -> list[Any]:
    world = story.world
    assert isinstance(world, DatabaseWorld)
    async with world.database.connection() as connection:
        return [row[0] for row in await connection.fetch(statement)]


async def stored(story: DatabaseStory) -> dict[str, list[str]]:
    """Every row of the journey as text, by table."""
    return {table: await column(story, f"SELECT t::text FROM {table} t ORDER BY 1") for table in STORED}
