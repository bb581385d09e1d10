"""Fan out: a rule that is ready becomes batches, few for a small set and more for a large one."""

from typing import Protocol

from dataharvest import tracing
from dataharvest.errors import Rejected
from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch, BatchDone, decode_rule_ready
from dataharvest.ports import Sender, Work
from dataharvest.rulebook import all_rules
from dataharvest.rules.batching import batch_count
from dataharvest.rules.carrying import NOTHING
from dataharvest.stages.carry_over import carry_over

BATCHES_AT_ONCE = 2
"""Batches of one tenant that are sent and not done, at most: workers have time for others in between."""


class SmallBatches(Protocol):
    """Does batches where they were planned."""

    @property
    def most_records(self) -> int:
        """Of a set whose batches are small."""

    async def do(self, batch: Batch) -> bool:
        """Do the batch and all that follows; False when it is left to whoever gets its message."""


async def fan_out(value: bytes, *, work: Work, sender: Sender, at_once: SmallBatches | None = None) -> None:
    """Plan the batches of a ready rule, unless they are planned, and send those whose turn it is.

    The only batch of a small set is done ``at_once``, if there is somebody to do it, and not sent: but only by whoever has
    planned it. When the message comes again, for its worker ended, it is sent: so what ends its workers ends them at
    ``work``, as with every other batch.

    Raises:
        Rejected: the message can't be read, or no rule has this name.
        Unavailable: PostgreSQL or Kafka is not there.
    """
    ready = decode_rule_ready(value)
    rule = all_rules().get(ready.rule)
    if rule is None:
        raise Rejected(f"no rule is called {ready.rule!r}", rule="unknown_rule")
    # There is nothing to be carried over to the first version.
    carried = await carry_over(ready, rule, work=work) if ready.version > 1 else NOTHING
    counts = await work.record_counts(ready)
    # Few clients or portfolios, named one by one, are one batch.
    count = 1 if carried.references is not None else batch_count(counts, work=rule.work)
    is_small = at_once is not None and count == 1 and sum(counts.values()) <= at_once.most_records
    is_planned_now = await work.plan(ready, batch_count=count, carried=carried, is_held=is_small)
    failpoint("fan_out.planned")
    first = Batch(**ready.model_dump(exclude={"type"}), batch=0, batch_count=count)
    if at_once is not None and is_small and is_planned_now and await at_once.do(first):
        return
    if count == 1 and not is_planned_now and await work.is_done(first):
        # Perhaps the worker ended before it could tell.
        await tell_done(first, sender=sender)
    elif count == 1:
        await work.release(first)
    await send_next_batches(ready.tenant, work=work, sender=sender)


async def tell_done(batch: Batch, *, sender: Sender) -> None:
    """Tell the set that a batch is done."""
    done = BatchDone(**batch.model_dump(exclude={"type"}))
    await sender.send("progress", key=done.key, value=done.encode())


async def send_next_batches(tenant: str, *, work: Work, sender: Sender) -> int:
    """Send planned batches of the tenant, by whomever, as many as may be under way; how many."""
    async with work.next_batches(tenant, at_once=BATCHES_AT_ONCE) as turn:
        for batch in turn.batches:
            # Not always the set that the caller is busy with.
            with tracing.continued(turn.trace_of(batch)):
                position = await sender.send("work", key=batch.key, value=batch.encode())
            await turn.mark_sent(batch, position)
    return len(turn.batches)
