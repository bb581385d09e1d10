"""Fan out: a rule that is ready becomes batches, few for a small set and more for a large one."""

from dataharvest.errors import Rejected
from dataharvest.messages import RuleReady, decode_rule_ready
from dataharvest.ports import Sender, Work
from dataharvest.rulebook import all_rules
from dataharvest.rules.batching import batch_count


async def fan_out(value: bytes, *, work: Work, sender: Sender) -> None:
    """Plan the batches of a ready rule, unless they are planned, and send those that were not sent.

    Raises:
        Rejected: the message can't be read, or no rule has this name.
        Unavailable: PostgreSQL or Kafka is not there.
    """
    ready = decode_rule_ready(value)
    rule = all_rules().get(ready.rule)
    if rule is None:
        raise Rejected(f"no rule is called {ready.rule!r}", rule="unknown_rule")
    count = batch_count(await work.record_counts(ready), work=rule.work)
    await work.plan(ready, batch_count=count)
    await send_unsent_batches(ready, work=work, sender=sender)


async def send_unsent_batches(ready: RuleReady, *, work: Work, sender: Sender) -> None:
    """Send what was planned and not sent, by whomever."""
    for batch in await work.unsent(ready):
        await sender.send("work", key=batch.key, value=batch.encode())
        await work.mark_sent(batch)
