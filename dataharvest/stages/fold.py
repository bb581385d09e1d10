"""Fold: the table that knows how far each set is. What it concludes is confirmed in SQL before anybody hears of it."""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from dataharvest.deliveries import SetKey
from dataharvest.failpoints import failpoint
from dataharvest.messages import BatchDone, ChunkPersisted, DeliveryJudged, DeliverySealed, Progress, decode_progress
from dataharvest.ports import Judgements, Sender, Sets
from dataharvest.rules import progress
from dataharvest.rules.needs import Rule
from dataharvest.rules.progress import SetProgress
from dataharvest.stages.decide import Decisions
from dataharvest.stages.judge import send_unsent_judgements
from dataharvest.stages.judge_at_once import JudgeAtOnce

logger = logging.getLogger(__name__)

_ENDS_REMEMBERED = 10_000
_AFTER_SEALING = ("judging", "judged")


@dataclass
class Fold:
    """Applies the facts of ``progress`` to the table and acts when something is full."""

    sets: Sets
    judgements: Judgements
    sender: Sender
    rules: Mapping[str, Rule]
    decisions: Decisions
    at_once: JudgeAtOnce | None = None
    """Without it every delivery is judged by whoever gets its message."""
    _trusted: set[bytes] = field(default_factory=set)
    _ended: dict[tuple[bytes, str], str] = field(default_factory=dict)
    """Deliveries and rules decided about, the latest of them, and how they ended; what is still said of them changes nothing."""

    def forget(self) -> None:
        """Trust no entry of the table any more: partitions were assigned.

        The table's changelog is written without waiting, so after a kill an entry may lack a fact whose offset is committed.
        """
        self._trusted.clear()
        self._ended.clear()

    async def fold(self, value: bytes, *, table: MutableMapping[bytes, SetProgress]) -> None:
        """Take in one fact.

        Raises:
            Rejected: the message can't be read.
            Unavailable: PostgreSQL or Kafka is not there.
        """
        fact = decode_progress(value)
        subject = fact.key, progress.subject_of(fact)
        if subject in self._ended and self._changes_nothing(fact, table):
            return
        # A repeat whose original was rejected is read after all, and sealed after it had ended.
        self._ended.pop(subject, None)
        key = SetKey(fact.tenant, fact.business_date)
        if progress.is_the_last(fact):
            await self._end(fact, key, table)
        else:
            await self._count(fact, key, table)
        failpoint("fold.table_changed")

    def _changes_nothing(self, fact: Progress, table: Mapping[bytes, SetProgress]) -> bool:
        """Whether the fact is about steps of what has ended, and not of what the ledger has listed again since."""
        if isinstance(fact, DeliverySealed):
            # What has come to its judgement never is sealed again; a repeat that takes the place of what was rejected is.
            is_over = self._ended[fact.key, progress.subject_of(fact)] in _AFTER_SEALING
        else:
            is_over = isinstance(fact, ChunkPersisted | BatchDone | DeliveryJudged)
        return is_over and not progress.lists(table.get(fact.key) or progress.nothing(), fact)

    async def _end(self, fact: Progress, key: SetKey, table: MutableMapping[bytes, SetProgress]) -> None:
        """Take in a fact that says by itself that something has ended: nothing has to be counted, in the table or the ledger."""
        await (self.decisions.conclude(fact) if isinstance(fact, BatchDone) else self.decisions.decide(key))
        self._note_end(fact.key, progress.subject_of(fact), "ended")
        state = table.get(fact.key)
        if state is not None:
            # What an older table knew is of no use: the next fact that has to be counted looks into the ledger.
            is_trusted = fact.key in self._trusted
            self._keep(fact.key, progress.without(state, fact) if is_trusted else progress.nothing(), table)

    async def _count(self, fact: Progress, key: SetKey, table: MutableMapping[bytes, SetProgress]) -> None:
        """Take in a fact that may be the last of several."""
        known = await self._known(fact, key, table)
        has_ended = not progress.lists(known, fact)
        state, concluded = await self._conclude(key, known if has_ended else progress.advance(known, fact))
        if has_ended or set(concluded.values()) - {"judged"}:
            # Also when it ended before: perhaps in a worker that was killed before it could send or decide.
            await send_unsent_judgements(key, judgements=self.judgements, sender=self.sender)
        # While a delivery is judged the set is where it was, and with a verdict at once it was decided.
        if set(concluded.values()) - set(_AFTER_SEALING) or has_ended and not await self._is_judged_yet(fact):
            await self.decisions.decide(key)
        # What is judged, or done, needs no further look when more is said of how it came so far.
        over = {subject: outcome for subject, outcome in concluded.items() if outcome in (*_AFTER_SEALING, "rule")}
        for subject, outcome in ({progress.subject_of(fact): "ended"} | over if has_ended else over).items():
            self._note_end(fact.key, subject, outcome)
        self._keep(fact.key, state, table)
        if state != progress.nothing():
            self._trusted.add(fact.key)

    async def _is_judged_yet(self, fact: Progress) -> bool:
        """Whether the fact is about a delivery that is being judged: once it is, its set is told of that."""
        return isinstance(fact, ChunkPersisted | DeliverySealed) and await self.judgements.is_going_on(fact.delivery_id)

    def _keep(self, key: bytes, state: SetProgress, table: MutableMapping[bytes, SetProgress]) -> None:
        if state == progress.nothing():
            # All is done and in the ledger: a small table recovers quickly.
            table.pop(key, None)
            self._trusted.discard(key)
        else:
            table[key] = state

    def _note_end(self, key: bytes, subject: str, outcome: str) -> None:
        self._ended[key, subject] = outcome
        if len(self._ended) > _ENDS_REMEMBERED:
            # The oldest: forgetting one costs a look into the ledger, nothing else.
            del self._ended[next(iter(self._ended))]

    async def _known(self, fact: Progress, key: SetKey, table: Mapping[bytes, SetProgress]) -> SetProgress:
        state = table.get(fact.key)
        if state is not None and fact.key in self._trusted and progress.lists(state, fact) and not progress.doubts(state, fact):
            return state
        # A fact is sent after its commit: the ledger knows all that the table knows.
        return progress.without_single_batches(await self.sets.progress(key, rules=self.rules.values()))

    async def _judge_small(self, key: SetKey, delivery_id: int) -> str | None:
        return await self.at_once.judge(key, delivery_id) if self.at_once else None

    async def _conclude(self, key: SetKey, state: SetProgress) -> tuple[SetProgress, dict[str, str]]:
        """What is left of the progress, and by subject what became of what was finished: "rule", "judged" or a state."""
        concluded: dict[str, str] = {}
        for delivery_id in progress.full_deliveries(state):
            outcome = await self._judge_small(key, delivery_id) or await self.judgements.begin(delivery_id)
            if outcome == "broken":
                logger.error("records are unaccounted for, the set is blocked", extra={"delivery_id": delivery_id})
            # "sealed": the ledger lacks a chunk that the table has. It will come again; keep waiting for it.
            if outcome != "sealed":
                state = progress.without_delivery(state, delivery_id)
                concluded[str(delivery_id)] = outcome
        for version, name in progress.finished_rules(state):
            if rule := self.rules.get(name):
                await self.sets.confirm_done(key, version, rule)
            state = progress.without_rule(state, version, name)
            concluded[progress.rule_key(version, name)] = "rule"
        return state, concluded
