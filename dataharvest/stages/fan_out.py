"""Fan out: a rule that is ready becomes batches, few for a small set and more for a large one."""

from dataclasses import dataclass
from typing import Protocol

from dataharvest import tracing
from dataharvest.errors import Rejected
from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch, BatchDone, RuleReady, decode_rule_ready
from dataharvest.ports import Sender, Work
from dataharvest.rulebook import all_rules
from dataharvest.rules.batching import batch_count, can_carry_at_once
from dataharvest.rules.carrying import NOTHING
from dataharvest.rules.needs import Rule
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
    planned = await _plan(ready, rule, work=work, most_records=at_once.most_records if at_once else -1)
    failpoint("fan_out.planned")
    first = Batch(**ready.model_dump(exclude={"type"}), batch=0, batch_count=planned.count)
    if at_once is not None and planned.is_held and await at_once.do(first):
        return
    if planned.count == 1 and not planned.is_new and await work.is_done(first):
        # Perhaps the worker ended before it could tell.
        await tell_done(first, sender=sender)
    elif planned.count == 1:
        await work.release(first)
    await send_next_batches(ready.tenant, work=work, sender=sender)


@dataclass(frozen=True)
class _Planned:
    count: int
    is_new: bool
    """Whether the batches were planned just now."""
    is_held: bool = False
    """Whether it is one that is done by whoever has planned it."""


async def _plan(ready: RuleReady, rule: Rule, *, work: Work, most_records: int) -> _Planned:
    """Plan the batches, unless they are planned; the only one of a set of ``most_records`` or fewer is held."""
    if ready.version == 1:
        # There is nothing to be carried over to the first version.
        carried = NOTHING
        counts, is_planned_now = await work.plan_small(ready, at_most=most_records)
        if is_planned_now:
            return _Planned(1, is_new=True, is_held=True)
    else:
        carried = await carry_over(ready, rule, work=work)
        counts = await work.record_counts(ready)
    # Few clients or portfolios, named one by one, are one batch; what is only copied may be.
    is_one = carried.references is not None or (carried.is_all and can_carry_at_once(counts))
    count = 1 if is_one else batch_count(counts, work=rule.work)
    is_small = count == 1 and sum(counts.values()) <= most_records
    is_new = await work.plan(ready, batch_count=count, carried=carried, is_held=is_small)
    return _Planned(count, is_new, is_held=is_small and is_new)


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
