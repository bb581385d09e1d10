"""Do at once: the only batch of a small set, where it was planned, and the decision that follows from it."""

from dataclasses import dataclass

from dataharvest.errors import Rejected
from dataharvest.messages import Batch
from dataharvest.ports import Sender, Work
from dataharvest.stages.decide import Decisions
from dataharvest.stages.fan_out import tell_done
from dataharvest.stages.judge import ContractOf
from dataharvest.stages.work import do_batch


@dataclass(frozen=True, kw_only=True)
class DoAtOnce:
    """Does small batches without a message for them or about them: whoever ends in the middle leaves one that is sent."""

    work: Work
    sender: Sender
    decisions: Decisions
    contract_of: ContractOf
    most_records: int
    """Of a set whose batches are done at once: so few that nobody notices to have waited for them."""

    async def do(self, batch: Batch) -> bool:
        """Do the batch and decide what comes next in its set; False when it is left to whoever gets its message.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there.
        """
        try:
            is_done = await do_batch(batch, work=self.work, sender=self.sender, contract_of=self.contract_of)
        except Rejected:
            # Whoever gets the message goes on from what was kept of it, is refused as well, and says so.
            return False
        if is_done:
            await self._conclude(batch)
        return True

    async def _conclude(self, batch: Batch) -> None:
        try:
            await self.decisions.conclude(batch)
        except Rejected:
            # The same for whoever is told of it.
            await tell_done(batch, sender=self.sender)
