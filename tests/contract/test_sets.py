"""What sets promise: versions, facts and readiness, each recorded once, in memory and in PostgreSQL."""

import asyncio

import pytest

from dataharvest.contracts import DEFAULT, Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.progress import nothing
from dataharvest.rules.versions import SetView
from tests.contract.ledgers import ACCOUNTS, DAY, POSITION, Ledger, chunks_of, sealing_of

KEY = SetKey("acme", DAY)
RELATE = all_rules()[RELATIONSHIP]
TAX = all_rules()["tax"]
PUBLISH = all_rules()["outbound.clients"]


async def view_of(ledger: Ledger, key: SetKey = KEY) -> SetView:
    async with ledger.sets.locked(key) as locked:
        return await locked.view()


def ready(rule: str, *, version: int = 1) -> RuleReady:
    return RuleReady(tenant="acme", business_date=DAY, version=version, rule=rule)


def batch_of(rule: str, index: int, count: int, *, version: int = 1) -> Batch:
    return Batch(tenant="acme", business_date=DAY, version=version, rule=rule, batch=index, batch_count=count)


async def finish(ledger: Ledger, batch: Batch) -> None:
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.mark_computed(is_done=True)


async def test_a_set_that_nobody_began_is_empty(ledger: Ledger) -> None:
    assert await view_of(ledger) == SetView(deliveries=(), versions=())
    assert await ledger.sets.progress(KEY, rules=all_rules().values()) == nothing()


async def test_the_view_shows_what_counts_and_nothing_else(ledger: Ledger) -> None:
    complete = await ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,NaN,EUR,0\n", age_s=10)
    repeated = await ledger.lease("acme", age_s=5)
    assert await ledger.deliveries.seal(repeated, sealing_of(ACCOUNTS + b"3,0014,NaN,EUR,0\n", lease=repeated))
    under_way = await ledger.lease("acme", "clients")
    await ledger.lease("zen")
    view = await view_of(ledger)
    found = {one.delivery_id: (one.entity, one.state, one.open_quarantine) for one in view.deliveries}
    assert found == {complete: ("accounts", "complete", 1), under_way.delivery_id: ("clients", "splitting", 0)}


async def test_a_decision_has_the_contract_that_was_the_newest_when_it_looked(ledger: Ledger) -> None:
    terms = Contract(quarantine_threshold=3)
    await ledger.register("acme")
    async with ledger.sets.locked(KEY) as locked:
        before = await locked.view()
        await ledger.contracts.apply("acme", terms)
        after = await locked.view()

        assert (before.contract_version, after.contract_version) == (0, 1)
        assert [await locked.contract_of("acme", one.contract_version) for one in (before, after)] == [DEFAULT, terms]
    assert (await view_of(ledger, SetKey("zen", DAY))).contract_version == 0


async def test_a_version_is_frozen_with_its_deliveries_and_facts(ledger: Ledger) -> None:
    made = await ledger.version("acme")
    [version] = (await view_of(ledger)).versions
    assert (version.version, version.state, dict(version.deliveries)) == (1, "open", made)
    assert version.facts == {"accounts_persisted", "clients_persisted", "portfolios_persisted", "transactions_persisted"}
    assert version.announced == set()
    assert (await view_of(ledger, SetKey("zen", DAY))).versions == ()


async def test_a_new_version_cancels_the_one_before_and_supersedes_its_deliveries(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    corrected = await ledger.complete("acme", "accounts", ACCOUNTS + b"3,0014,1,EUR,0\n")
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, {**first, "accounts": corrected})
    assert [(one.version, one.state) for one in (await view_of(ledger)).versions] == [(1, "cancelled"), (2, "open")]
    assert await ledger.state_of(first["accounts"]) == "superseded"
    assert await ledger.state_of(first["clients"]) == "complete"


async def test_a_version_that_began_to_publish_is_not_cancelled(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    await ledger.work.plan(ready(PUBLISH.name), batch_count=1)
    async with ledger.work.open_batch(batch_of(PUBLISH.name, 0, 1)) as locked:
        assert locked is not None
        await locked.mark_computed()
    async with ledger.sets.locked(KEY) as locked_set:
        await locked_set.create_version(2, first)
    assert [one.state for one in (await view_of(ledger)).versions] == ["open", "open"]


async def test_what_was_decided_in_a_block_that_fails_did_not_happen(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    with pytest.raises(ZeroDivisionError):
        async with ledger.sets.locked(KEY) as locked:
            await locked.announce(1, TAX)
            await locked.create_version(2, first)
            raise ZeroDivisionError
    [version] = (await view_of(ledger)).versions
    assert (version.state, version.announced) == ("open", frozenset())
    assert await ledger.sets.unsent_readiness(KEY) == []


async def test_decisions_about_a_set_come_one_after_the_other(ledger: Ledger) -> None:
    await ledger.register("acme")
    order: list[str] = []

    async def decide(name: str) -> None:
        async with ledger.sets.locked(KEY) as locked:
            order.append(f"{name} begins")
            await locked.view()
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(*(decide(name) for name in ("a", "b", "c")))
    assert order[::2] == [one.replace("ends", "begins") for one in order[1::2]]


async def test_a_readiness_is_announced_once_and_unsent_until_marked(ledger: Ledger) -> None:
    await ledger.version("acme")
    for _ in range(2):
        async with ledger.sets.locked(KEY) as locked:
            await locked.announce(1, TAX)
            await locked.announce(1, RELATE)
    assert await ledger.sets.unsent_readiness(KEY) == [(1, RELATIONSHIP), (1, "tax")]
    await ledger.sets.mark_readiness_sent(KEY, [(1, RELATIONSHIP)])
    assert await ledger.sets.unsent_readiness(KEY) == [(1, "tax")]
    async with ledger.sets.locked(KEY) as locked:
        await locked.announce(1, RELATE)
    assert await ledger.sets.unsent_readiness(KEY) == [(1, "tax")]
    assert (await view_of(ledger)).versions[0].announced == {RELATIONSHIP, "tax"}


async def test_a_fact_holds_only_when_every_batch_is_done(ledger: Ledger) -> None:
    await ledger.version("acme")
    await ledger.sets.confirm_done(KEY, 1, TAX)
    await ledger.work.plan(ready("tax"), batch_count=3)
    for index in (2, 0, 1):
        await ledger.sets.confirm_done(KEY, 1, TAX)
        assert "tax" not in (await view_of(ledger)).versions[0].facts
        await finish(ledger, batch_of("tax", index, 3))
    for _ in range(2):
        await ledger.sets.confirm_done(KEY, 1, TAX)
    assert "tax" in (await view_of(ledger)).versions[0].facts


async def test_a_cancelled_version_gets_no_facts(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    await ledger.work.plan(ready("tax"), batch_count=1)
    await finish(ledger, batch_of("tax", 0, 1))
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, first)
    await ledger.sets.confirm_done(KEY, 1, TAX)
    assert "tax" not in (await view_of(ledger)).versions[0].facts


async def test_a_published_version_stays_published(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    for _ in range(2):
        async with ledger.sets.locked(KEY) as locked:
            await locked.set_published(1)
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, first)
    assert [one.state for one in (await view_of(ledger)).versions] == ["published", "open"]


async def test_progress_is_what_the_ledger_has_of_deliveries_under_way(ledger: Ledger) -> None:
    finished = await ledger.complete("acme", "clients", b"record_id,client_reference,tax_free_allowance\n")
    lease = await ledger.lease("acme")
    chunks = chunks_of(lease, ACCOUNTS + b"3,0014,1,EUR,0\n4,0015,1,EUR,0.123\n5,0016,1,EUR,0.123\n")
    assert len(chunks) == 5
    for metadata, checked in (chunks[0], chunks[1], chunks[3]):
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    found = await ledger.sets.progress(KEY, rules=all_rules().values())
    assert set(found["deliveries"]) == {str(lease.delivery_id)} != {str(finished)}
    under_way = found["deliveries"][str(lease.delivery_id)]
    assert under_way == {"entity": "accounts", "chunks": None, "stored": [[0, 1], [3, 3]]}
    await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    sealed = await ledger.sets.progress(KEY, rules=all_rules().values())
    assert sealed["deliveries"][str(lease.delivery_id)]["chunks"] == 2


async def test_progress_shows_batches_until_their_fact_is_recorded(ledger: Ledger) -> None:
    await ledger.version("acme")
    await ledger.work.plan(ready("tax"), batch_count=3)
    await finish(ledger, batch_of("tax", 0, 3))
    await finish(ledger, batch_of("tax", 2, 3))
    found = await ledger.sets.progress(KEY, rules=all_rules().values())
    assert found["rules"] == {"1|tax": {"count": 3, "done": [[0, 0], [2, 2]]}}
    await finish(ledger, batch_of("tax", 1, 3))
    await ledger.sets.confirm_done(KEY, 1, TAX)
    assert (await ledger.sets.progress(KEY, rules=all_rules().values()))["rules"] == {}


async def test_one_rule_that_is_done_hides_no_other_rule_under_way(ledger: Ledger) -> None:
    await ledger.version("acme")
    await ledger.work.plan(ready("tax"), batch_count=1)
    await ledger.work.plan(ready("transactions"), batch_count=1)
    await finish(ledger, batch_of("tax", 0, 1))
    await ledger.sets.confirm_done(KEY, 1, TAX)
    found = await ledger.sets.progress(KEY, rules=all_rules().values())
    assert found["rules"] == {"1|transactions": {"count": 1, "done": []}}


async def test_the_wait_for_a_version_begins_with_its_last_file(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    await asyncio.sleep(0.05)
    async with ledger.sets.locked(KEY) as locked:
        created_s = await locked.create_version(2, first)
        published_s = await locked.set_published(2)
        assert published_s is not None
        assert 0.05 <= created_s <= published_s < 60
        assert await locked.set_published(2) is None


async def test_an_edition_that_was_raised_is_due_until_a_version_is_made_of_it(ledger: Ledger) -> None:
    first = await ledger.version("acme")
    async with ledger.sets.locked(KEY) as locked:
        await locked.set_published(1)
    assert await ledger.sets.sets_due(settle_s=0) == []
    async with ledger.sets.locked(KEY) as locked:
        assert (await locked.raise_edition(), await locked.raise_edition()) == (1, 2)
    view = await view_of(ledger)
    assert (view.edition, view.versions[0].edition, view.versions[0].state) == (2, 0, "published")
    assert await ledger.sets.sets_due(settle_s=0) == [KEY]
    async with ledger.sets.locked(KEY) as locked:
        await locked.create_version(2, first)
    view = await view_of(ledger)
    assert [one.edition for one in view.versions] == [0, 2]
    assert await ledger.sets.sets_due(settle_s=0) == []


async def test_raising_the_edition_cancels_what_has_not_begun_to_publish(ledger: Ledger) -> None:
    await ledger.version("acme")
    async with ledger.sets.locked(KEY) as locked:
        await locked.announce(1, TAX)
        await locked.raise_edition()
    assert [one.state for one in (await view_of(ledger)).versions] == ["cancelled"]


async def test_the_edition_cannot_be_raised_while_a_version_goes_out(ledger: Ledger) -> None:
    await ledger.version("acme")
    await ledger.work.plan(ready(PUBLISH.name), batch_count=1)
    await finish(ledger, batch_of(PUBLISH.name, 0, 1))
    with pytest.raises(Rejected, match="Version 1 of acme's set of 2026-11-23 is being published") as refused:
        async with ledger.sets.locked(KEY) as locked:
            await locked.raise_edition()
    assert refused.value.rule == "set_is_publishing"
    view = await view_of(ledger)
    assert (view.edition, view.versions[0].state) == (0, "open")
