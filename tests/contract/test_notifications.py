"""What notifications and webhook calls promise, in memory and in PostgreSQL."""

import asyncio

import pytest

from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.notifications import WebhookCall
from dataharvest.rulebook import RELATIONSHIP
from dataharvest.rules.notifying import ready_note
from tests.contract.ledgers import DAY, Ledger

KEY = SetKey("acme", DAY)
NOTE = ready_note("acme", DAY, version=1)


async def leave(ledger: Ledger, *tenants: str) -> None:
    for tenant in tenants:
        await ledger.register(tenant)
        async with ledger.sets.locked(SetKey(tenant, DAY)) as locked:
            await locked.notify(ready_note(tenant, DAY, version=1))


async def claim(ledger: Ledger, *, limit: int = 10, hold_s: float = 60) -> list[WebhookCall]:
    return list(await ledger.webhook_calls.claim(limit=limit, hold_s=hold_s))


async def queue(ledger: Ledger, *tenants: str) -> None:
    await leave(ledger, *tenants)
    async with ledger.notifications.to_send() as turn:
        for one in turn.notifications:
            await ledger.webhook_calls.queue(one, one.encode())


async def test_a_notification_is_left_once_and_unsent_until_it_is_marked(ledger: Ledger) -> None:
    await leave(ledger, "acme", "acme")
    async with ledger.notifications.to_send() as turn:
        [one] = turn.notifications
        assert (one.tenant, one.business_date, one.type, one.version) == ("acme", DAY, "set_ready", 1)
        assert (one.notification_id, one.reason) == (NOTE.notification_id, NOTE.reason)
    async with ledger.notifications.to_send() as again:
        assert again.notifications == [one]
        await again.mark_sent(one.notification_id)
    async with ledger.notifications.to_send() as nothing:
        assert nothing.notifications == []
    await leave(ledger, "acme")
    async with ledger.notifications.to_send() as still_nothing:
        assert still_nothing.notifications == []


async def test_a_sweep_leaves_alone_what_is_young(ledger: Ledger) -> None:
    await leave(ledger, "acme")
    async with ledger.notifications.to_send(age_s=60) as turn:
        assert turn.notifications == []


async def test_a_decision_that_did_not_happen_leaves_no_notification(ledger: Ledger) -> None:
    await ledger.register("acme")
    with pytest.raises(ZeroDivisionError):
        async with ledger.sets.locked(KEY) as locked:
            await locked.notify(NOTE)
            raise ZeroDivisionError
    async with ledger.notifications.to_send() as turn:
        assert turn.notifications == []


async def test_a_mark_in_a_block_that_fails_does_not_count(ledger: Ledger) -> None:
    await leave(ledger, "acme")
    with pytest.raises(ZeroDivisionError):
        async with ledger.notifications.to_send() as turn:
            await turn.mark_sent(NOTE.notification_id)
            raise ZeroDivisionError
    async with ledger.notifications.to_send() as again:
        assert len(again.notifications) == 1


async def test_two_who_send_at_once_get_different_ones(ledger: Ledger) -> None:
    await leave(ledger, "a", "b", "c")
    async with ledger.notifications.to_send(limit=2) as mine, ledger.notifications.to_send(limit=2) as other:
        assert [one.tenant for one in mine.notifications] == ["a", "b"]
        assert [one.tenant for one in other.notifications] == ["c"]


async def test_a_batch_leaves_a_notification_too(ledger: Ledger) -> None:
    await ledger.version("acme")
    await ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP), batch_count=1)
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP, batch=0, batch_count=1)
    async with ledger.work.open_batch(batch) as locked:
        assert locked is not None
        await locked.notify(NOTE)
    async with ledger.notifications.to_send() as turn:
        assert [one.notification_id for one in turn.notifications] == [NOTE.notification_id]


async def test_a_call_is_claimed_by_one_and_ends_once_accepted(ledger: Ledger) -> None:
    await queue(ledger, "acme", "zen")
    await queue(ledger, "acme")
    first = await claim(ledger)
    assert sorted((one.tenant, one.attempt) for one in first) == [("acme", 1), ("zen", 1)]
    assert b'"type":"set_ready"' in first[0].payload
    assert 0 <= first[0].age_s < 60
    assert await claim(ledger) == []
    for one in first:
        await ledger.webhook_calls.accepted(one.notification_id)
    await queue(ledger, "acme")
    assert await claim(ledger) == []


async def test_a_failed_call_is_due_again_after_its_pause_and_one_given_up_never(ledger: Ledger) -> None:
    await queue(ledger, "now", "later", "never")
    for one in await claim(ledger):
        if one.tenant == "never":
            await ledger.webhook_calls.given_up(one.notification_id, reason="answered 500")
        else:
            pause_s = 0.0 if one.tenant == "now" else 600.0
            await ledger.webhook_calls.failed(one.notification_id, reason="answered 500", pause_s=pause_s)
    assert [(one.tenant, one.attempt) for one in await claim(ledger)] == [("now", 2)]


async def test_a_call_whose_caller_was_killed_is_made_again(ledger: Ledger) -> None:
    await queue(ledger, "acme")
    assert len(await claim(ledger, hold_s=0.001)) == 1
    await asyncio.sleep(0.01)
    assert [one.attempt for one in await claim(ledger)] == [2]


async def test_of_a_tenant_one_call_is_under_way_at_a_time(ledger: Ledger) -> None:
    await ledger.register("acme")
    async with ledger.sets.locked(KEY) as locked:
        for version in (1, 2):
            await locked.notify(ready_note("acme", DAY, version=version))
    await queue(ledger)
    [first] = await claim(ledger)
    assert await claim(ledger) == []
    await ledger.webhook_calls.accepted(first.notification_id)
    [second] = await claim(ledger)
    assert second.notification_id != first.notification_id


async def test_no_more_are_claimed_than_asked_for(ledger: Ledger) -> None:
    await queue(ledger, "a", "b", "c")
    assert len(await claim(ledger, limit=2)) == 2
    assert len(await claim(ledger, limit=0)) == 0
    assert len(await claim(ledger, limit=2)) == 1
