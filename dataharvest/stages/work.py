"""Work: a delivery to be judged, or one batch of one rule: relate, transform and publish are told apart by the rule's name."""

from contextlib import AbstractContextManager

from dataharvest import metrics
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, Judgement, decode_work
from dataharvest.outbound import all_outbound
from dataharvest.ports import LockedSet, Sender, Work
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.stages.fan_out import send_next_batches, tell_done
from dataharvest.stages.judge import ContractOf, Judge
from dataharvest.stages.publish import publish
from dataharvest.stages.relate import relate
from dataharvest.stages.transform import transform
from dataharvest.transformers import all_transformers


async def work_on(value: bytes, *, work: Work, sender: Sender, judge: Judge) -> None:
    """Judge a delivery or do a batch, and tell its set; what was done before is only told again.

    Raises:
        Rejected: the message can't be read, or no rule has this name.
        Unavailable: PostgreSQL, Kafka or the object store is not there.
    """
    batch = decode_work(value)
    if isinstance(batch, Judgement):
        with metrics.BATCH_SECONDS.labels("judge").time():
            await judge.judge(batch)
        return
    if await do_batch(batch, work=work, sender=sender, contract_of=judge.contract_of):
        await tell_done(batch, sender=sender)
    await send_next_batches(batch.tenant, work=work, sender=sender)


async def do_batch(batch: Batch, *, work: Work, sender: Sender, contract_of: ContractOf) -> bool:
    """Do a batch; False when its version is cancelled or blocked, or it has to wait. Raises as ``work_on`` does."""
    with timed(batch):
        if outbound := all_outbound().get(batch.rule):
            return await publish(batch, outbound, work=work, sender=sender)
        return await compute(batch, work=work, contract_of=contract_of)


async def compute(batch: Batch, *, work: Work, contract_of: ContractOf, within: LockedSet | None = None) -> bool:
    """Do a batch that sends no messages, in a transaction or ``within`` that of its set; False as of ``do_batch``."""
    if batch.rule == RELATIONSHIP:
        return await relate(batch, work=work, contract_of=contract_of, within=within)
    if transformer := all_transformers().get(batch.rule):
        return await transform(batch, transformer, work=work, within=within)
    raise Rejected(f"no rule is called {batch.rule!r}", rule="unknown_rule")


def timed(batch: Batch) -> AbstractContextManager[object]:
    """Measure how long the batch takes."""
    # Only names that we know: a forged message must not add to what is measured.
    return metrics.BATCH_SECONDS.labels(batch.rule if batch.rule in all_rules() else "unknown").time()
