"""Work: one batch of one rule. Which of relate, transform and publish it is, the rule's name tells."""

from dataharvest.errors import Rejected
from dataharvest.messages import Batch, BatchDone, decode_batch
from dataharvest.outbound import all_outbound
from dataharvest.ports import Sender, Work
from dataharvest.rulebook import RELATIONSHIP
from dataharvest.stages.publish import publish
from dataharvest.stages.relate import relate
from dataharvest.stages.transform import transform
from dataharvest.transformers import all_transformers


async def work_on(value: bytes, *, work: Work, sender: Sender) -> None:
    """Do a batch and tell its set; a batch done before only tells again.

    Raises:
        Rejected: the message can't be read, or no rule has this name.
        Unavailable: PostgreSQL or Kafka is not there.
    """
    batch = decode_batch(value)
    if await _do(batch, work=work, sender=sender):
        done = BatchDone(**batch.model_dump(exclude={"type"}))
        await sender.send("progress", key=done.key, value=done.encode())


async def _do(batch: Batch, *, work: Work, sender: Sender) -> bool:
    if batch.rule == RELATIONSHIP:
        return await relate(batch, work=work)
    if transformer := all_transformers().get(batch.rule):
        return await transform(batch, transformer, work=work)
    if outbound := all_outbound().get(batch.rule):
        return await publish(batch, outbound, work=work, sender=sender)
    raise Rejected(f"no rule is called {batch.rule!r}", rule="unknown_rule")
