"""Do at once: the only batch of a small set, where it was planned, and the decision that follows from it."""

from dataclasses import dataclass

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch
from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.ports import Sender, Work
from dataharvest.stages.decide import Decision, Decisions
from dataharvest.stages.publish import mark, store_and_send
from dataharvest.stages.work import compute, timed


@dataclass(frozen=True, kw_only=True)
class DoAtOnce:
    """Does small batches without a message for them or about them: whoever ends in the middle leaves one that is sent.

    What a batch has made and what is decided then are one transaction, under the set's lock.
    """

    work: Work
    sender: Sender
    decisions: Decisions
    most_records: int
    """Of a set whose batches are done at once: so few that nobody notices to have waited for them."""

    async def do(self, batch: Batch) -> bool:
        """Do the batch and decide what comes next in its set; False when it is left to whoever gets its message.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there.
        """
        try:
            with timed(batch):
                outbound = all_outbound().get(batch.rule)
                decision = await (self._publish(batch, outbound) if outbound else self._compute(batch))
        except Rejected:
            # Whoever gets the message goes on from what was kept of it, is refused as well, and says so.
            return False
        if decision is not None:
            await self.decisions.tell(decision)
        return True

    async def _compute(self, batch: Batch) -> Decision | None:
        async with self.decisions.sets.locked(_set_of(batch), reads_rows=True) as locked:
            is_done = await compute(batch, work=self.work, contract_of=locked.contract_of, within=locked)
            return await self.decisions.decide_within(locked, _set_of(batch)) if is_done else None

    async def _publish(self, batch: Batch, outbound: OutboundMessage) -> Decision | None:
        # Nobody waits with the set locked for Kafka.
        opened = await store_and_send(batch, outbound, work=self.work, sender=self.sender)
        if opened is None:
            return None
        async with self.decisions.sets.locked(_set_of(batch)) as locked:
            await mark(opened, batch, work=self.work, provides=outbound.rule.provides, within=locked)
            return await self.decisions.decide_within(locked, _set_of(batch))


def _set_of(batch: Batch) -> SetKey:
    return SetKey(batch.tenant, batch.business_date)
