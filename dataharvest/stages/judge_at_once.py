"""Judge at once: a small delivery where it is found full, and the decision about its set that follows."""

import logging
from dataclasses import dataclass

from dataharvest import metrics
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.failpoints import failpoint
from dataharvest.ports import Judgements
from dataharvest.rules.tiling import ConservationBroken
from dataharvest.stages.decide import Decision, Decisions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JudgeAtOnce:
    """Judges a small delivery where it is found full: no message is sent for it and none comes back.

    It is begun first, by itself. Whoever ends in the middle leaves a delivery that waits for its judgement, and the message that
    it had in hand comes again and sends it: so what ends its workers ends them at ``work``, as with every other delivery. The
    verdict and what is decided about the set then are one transaction, under the set's lock.
    """

    judgements: Judgements
    decisions: Decisions
    most_records: int
    """Of a delivery that is judged at once: so few that nobody notices to have waited for it."""

    async def judge(self, key: SetKey, delivery_id: int) -> str | None:
        """``judged``, or ``judging`` when its message has to be sent; None, and nothing is done, when it is not small."""
        if not await self.judgements.begin_small(delivery_id, at_most=self.most_records):
            return None
        failpoint("judge.begun")
        with metrics.BATCH_SECONDS.labels("judge").time():
            decision = await self._judge(key, delivery_id)
        if decision is None:
            return "judging"
        await self.decisions.tell(decision)
        return "judged"

    async def _judge(self, key: SetKey, delivery_id: int) -> Decision | None:
        try:
            async with (
                self.decisions.sets.locked(key, reads_rows=True) as locked,
                self.judgements.open(delivery_id, within=locked) as judgement,
            ):
                # What may hold duplicates is read again, and the object store may keep its reader waiting.
                if judgement is None or not await judgement.count_next() or await judgement.weigh():
                    return None
                state = await judgement.complete()
                decision = await self.decisions.decide_within(locked, key)
        except (ConservationBroken, Rejected):
            # Nothing was kept of it. Whoever gets the message meets it too, and says so.
            return None
        logger.info("delivery judged", extra={"delivery_id": delivery_id, "state": state})
        return decision
