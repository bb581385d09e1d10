"""Judge: counts a delivery's sums and duplicates once, applies the contract's rule to them, and completes it."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from dataharvest.contracts import DEFAULT, Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected
from dataharvest.failpoints import failpoint
from dataharvest.messages import DeliveryJudged, Judgement
from dataharvest.objects import ObjectStore
from dataharvest.ports import Deliveries, Judgements, LockedJudgement, Sender
from dataharvest.rules.tiling import ConservationBroken
from dataharvest.stages.read_again import ReadingAgain

logger = logging.getLogger(__name__)

_REMOVED = (404, 412)
"""Codes that say that the bytes are gone for good; any other may be over tomorrow."""

ContractOf = Callable[[str, int], Awaitable[Contract]]
"""Contract of a tenant by its version."""


async def default_contract(tenant: str, version: int) -> Contract:
    """The defaults, whoever asks."""
    return DEFAULT


@dataclass
class Judge:
    """Judges deliveries; a delivery judged before is only told again."""

    judgements: Judgements
    deliveries: Deliveries
    objects: ObjectStore
    sender: Sender
    contract_of: ContractOf = default_contract

    async def judge(self, message: Judgement) -> None:
        """Judge the delivery and tell its set; one whose object can't be read now is left as it is and comes again later.

        A large one is counted in slices, many chunks are read again some at a time, and so are many copies removed: what a step
        has done is kept, and the same message sent once more, until the last step completes the delivery.

        Raises:
            Unavailable: PostgreSQL, the object store or Kafka is not there.
        """
        try:
            if not await self._judge(message):
                failpoint("judge.step_taken")
                await send_judgement(message, judgements=self.judgements, sender=self.sender)
                return
        except ObjectTrouble as trouble:
            await self._put_off(message, trouble)
            return
        except ConservationBroken as broken:
            await self.judgements.note_broken(message.delivery_id, str(broken))
            log_broken(message, str(broken))
        except ContractTrouble as trouble:
            # It stays as it is; the sweep sends the judgement again, and once the contract is replaced it is done.
            logger.error("contract can't be read, the delivery waits", extra={**_details(message), "reason": trouble.message})
            return
        except Rejected as reason:
            await self.deliveries.reject(message.delivery_id, reason)
            logger.warning("delivery rejected", extra={**_details(message), "rule": reason.rule})
        fact = DeliveryJudged(**message.model_dump(exclude={"type"}))
        await self.sender.send("progress", key=fact.key, value=fact.encode())

    async def _put_off(self, message: Judgement, trouble: ObjectTrouble) -> None:
        failure = {"rule": f"object_{trouble.code}", "message": str(trouble)}
        await self.judgements.note_waiting(message.delivery_id, failure)
        logger.warning("judgement waits for its object", extra={**_details(message), "code": trouble.code})

    async def _judge(self, message: Judgement) -> bool:
        """Take the next step; whether it was the last."""
        async with self.judgements.open(message.delivery_id) as judgement:
            if judgement is None:
                return True
            if not await judgement.count_next():
                return False
            if await judgement.weigh() and not (await self._judge_duplicates(judgement) and await _remove_next(judgement)):
                return False
            state = await judgement.complete()
        logger.info("delivery judged", extra={**_details(message), "state": state})
        return True

    async def _judge_duplicates(self, judgement: LockedJudgement) -> bool:
        """Take the next step about copies; whether nothing is left to be found out about them."""
        subject = judgement.subject
        contract = await self.contract_of(subject.tenant, subject.contract_version)
        reading = ReadingAgain(subject, contract, self.objects)
        wanted = await judgement.find_duplicates(contract.duplicate_rule(subject.entity), at_most=reading.most_chunks)
        if wanted is None:
            return False
        read = 0
        try:
            async with aclosing(reading.chunks(reading.in_one_step(wanted))) as chunks:
                async for place, data in chunks:
                    copies = reading.copies(place, data, keys=await judgement.keys_in(place.index))
                    await judgement.settle(place.index, copies, check=reading.check_record)
                    read += 1
                    if reading.is_enough:
                        break
        except ObjectTrouble as trouble:
            if trouble.code not in _REMOVED:
                raise
            # The rows are safe; which line they stood on, and which of two came first, nobody can tell any more.
            details = {"delivery_id": subject.delivery_id, "code": trouble.code}
            logger.warning("source removed, duplicates without lines", extra=details)
            return True
        # A whole portion may have others behind it.
        is_last_portion = len(wanted) != reading.most_chunks
        return is_last_portion and read == len(wanted) and not reading.has_read_much


async def _remove_next(judgement: LockedJudgement) -> bool:
    is_done = await judgement.remove_next()
    if not is_done:
        failpoint("judge.removed")
    return is_done


async def send_unsent_judgements(key: SetKey, *, judgements: Judgements, sender: Sender) -> None:
    """Send what was begun and not sent, by whomever."""
    for message in await judgements.unsent(key):
        await send_judgement(message, judgements=judgements, sender=sender)


async def send_judgement(message: Judgement, *, judgements: Judgements, sender: Sender) -> None:
    """Send a judgement that was begun, and note it."""
    await sender.send("work", key=message.key, value=message.encode())
    await judgements.mark_sent(message.delivery_id)


def log_broken(about: Judgement, reason: str) -> None:
    """Say loudly that a delivery does not add up."""
    logger.error("records are unaccounted for, the set is blocked", extra={**_details(about), "reason": reason})


def _details(about: Judgement) -> dict[str, object]:
    return {"tenant": about.tenant, "delivery_id": about.delivery_id, "entity": about.entity}
