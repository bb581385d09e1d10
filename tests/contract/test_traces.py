"""What the ledger keeps of traces: the span that goes on from a row, in memory and in PostgreSQL."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dataharvest import tracing
from dataharvest.deliveries import SetKey
from dataharvest.messages import RuleReady
from dataharvest.rules.notifying import ready_note
from tests.contract.ledgers import ACCOUNTS, DAY, Ledger, sealing_of

KEY = SetKey("acme", DAY)


@pytest.fixture
def traced() -> Iterator[None]:
    tracing.switch_on(InMemorySpanExporter(), at_once=True)
    yield
    tracing.switch_off()


def here() -> str:
    found = tracing.traceparent()
    assert found
    return found


@pytest.mark.usefixtures("traced")
async def test_a_delivery_keeps_the_span_of_its_latest_step(ledger: Ledger) -> None:
    with tracing.span("register", {}):
        registered = here()
        lease = await ledger.lease("acme")
    assert lease.traceparent == registered
    await ledger.store(lease, ACCOUNTS)
    with tracing.span("split", {}, parent=registered):
        sealed = here()
        assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    [announcement] = await ledger.deliveries.unannounced()
    assert announcement.traceparent == sealed != registered
    async with ledger.sets.locked(KEY) as locked:
        assert await locked.traceparents([lease.delivery_id]) == [sealed]


@pytest.mark.usefixtures("traced")
async def test_batches_and_notifications_go_on_from_the_span_of_their_version(ledger: Ledger) -> None:
    await ledger.version("acme")
    with tracing.span("ready", {}):
        ready = here()
        async with ledger.sets.locked(KEY) as locked:
            await locked.note_trace(1, ready)
            await locked.notify(ready_note("acme", DAY, version=1))
    await ledger.work.plan(RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax"), batch_count=2)
    async with ledger.work.next_batches("acme", at_once=2) as turn:
        assert [turn.trace_of(batch) for batch in turn.batches] == [ready, ready]
    async with ledger.notifications.to_send() as telling:
        assert [telling.trace_of(one.notification_id) for one in telling.notifications] == [ready]


async def test_without_traces_nothing_is_kept(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert lease.traceparent is None
    async with ledger.sets.locked(KEY) as locked:
        assert await locked.traceparents([lease.delivery_id]) == []
