"""Fan out: a rule that is ready becomes batches, few for a small set and more for a large one."""

from dataharvest import tracing
from dataharvest.errors import Rejected
from dataharvest.messages import decode_rule_ready
from dataharvest.ports import Sender, Work
from dataharvest.rulebook import all_rules
from dataharvest.rules.batching import batch_count
from dataharvest.stages.carry_over import carry_over

BATCHES_AT_ONCE = 2
"""Batches of one tenant that are sent and not done, at most: workers have time for others in between."""


async def fan_out(value: bytes, *, work: Work, sender: Sender) -> None:
    """Plan the batches of a ready rule, unless they are planned, and send those whose turn it is.

    Raises:
        Rejected: the message can't be read, or no rule has this name.
        Unavailable: PostgreSQL or Kafka is not there.
    """
    ready = decode_rule_ready(value)
    rule = all_rules().get(ready.rule)
    if rule is None:
        raise Rejected(f"no rule is called {ready.rule!r}", rule="unknown_rule")
    carried = await carry_over(ready, rule, work=work)
    # Few clients or portfolios, named one by one, are one batch.
    count = 1 if carried.references is not None else batch_count(await work.record_counts(ready), work=rule.work)
    await work.plan(ready, batch_count=count, carried=carried)
    await send_next_batches(ready.tenant, work=work, sender=sender)


async def send_next_batches(tenant: str, *, work: Work, sender: Sender) -> int:
    """Send planned batches of the tenant, by whomever, as many as may be under way; how many."""
    async with work.next_batches(tenant, at_once=BATCHES_AT_ONCE) as turn:
        for batch in turn.batches:
            # Not always the set that the caller is busy with.
            with tracing.continued(turn.trace_of(batch)):
                position = await sender.send("work", key=batch.key, value=batch.encode())
            await turn.mark_sent(batch, position)
    return len(turn.batches)
