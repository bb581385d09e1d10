"""Publish: outbound messages whose values are complete; first a row, then the message, then the mark."""

from collections.abc import Sequence

import polars as pl

from dataharvest import metrics
from dataharvest.deliveries import OpenBatch
from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch
from dataharvest.outbound import OutboundMessage
from dataharvest.ports import LockedBatch, LockedSet, Sender, Work
from dataharvest.rules.outbound_messages import Envelope, OutboundRow, changed_messages
from dataharvest.stages.transform import with_money_as_text


async def publish(batch: Batch, outbound: OutboundMessage, *, work: Work, sender: Sender) -> bool:
    """Send what is new, changed or withdrawn in the batch; False when the version is cancelled or blocked."""
    opened = await store_and_send(batch, outbound, work=work, sender=sender)
    if opened is not None:
        await mark(opened, batch, work=work)
    return opened is not None


async def mark(
    opened: OpenBatch, batch: Batch, *, work: Work, provides: str | None = None, within: LockedSet | None = None
) -> None:
    """One mark for all messages of the batch: they went out together."""
    await work.mark_done(opened, batch, provides=provides, within=within)
    failpoint("publish.marked")


async def store_and_send(batch: Batch, outbound: OutboundMessage, *, work: Work, sender: Sender) -> OpenBatch | None:
    """The same without the mark that nothing is left to do for the batch."""
    stored: list[OutboundRow] | None = None
    async with work.open_batch(batch) as locked:
        if locked is None:
            return None
        opened = locked.opened
        if not opened.computed:
            stored = await _store(locked, batch, outbound)
            await locked.mark_computed(made_by=outbound.made_by)
    failpoint("publish.stored")
    if stored is None:
        unsent = await work.unsent_outbound(opened, batch, kind=outbound.name)
        await _send([(reference, payload) for _, reference, payload in unsent], batch, outbound, sender=sender)
    else:
        # They are committed, and nobody else was given the batch: no need to ask for what was told a moment ago.
        await _send([(one.reference, one.payload) for one in stored], batch, outbound, sender=sender)
    return opened


async def _store(locked: LockedBatch, batch: Batch, outbound: OutboundMessage) -> list[OutboundRow]:
    frames = await locked.frames(outbound.reads, per=outbound.per)
    contents = contents_of(outbound.build(**frames, values=await locked.values(outbound.takes)), outbound)
    # There is no version before the first.
    last = await locked.last_outbound(kind=outbound.name) if batch.version > 1 else {}
    envelope = Envelope(batch.tenant, batch.business_date, batch.version, outbound.name, outbound.reference_field)
    rows = list(changed_messages(contents, last=last, envelope=envelope))
    await locked.store_outbound(rows, kind=outbound.name)
    return rows


def contents_of(built: pl.DataFrame, outbound: OutboundMessage) -> list[dict[str, object]]:
    """The contents of the messages, in order of reference: the fields in the order of the declaration."""
    return with_money_as_text(built.select("reference", *outbound.fields)).sort("reference").to_dicts()


async def _send(unsent: Sequence[tuple[str, bytes]], batch: Batch, outbound: OutboundMessage, *, sender: Sender) -> None:
    if unsent:
        messages = [(_key(batch.tenant, reference), payload) for reference, payload in unsent]
        await sender.send_many(outbound.topic, messages)
        failpoint("publish.acknowledged")
        metrics.OUTBOUND_SENT.labels(outbound.topic).inc(len(messages))


def _key(tenant: str, reference: str) -> bytes:
    return f"{tenant}|{reference}".encode()
