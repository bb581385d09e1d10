"""Fold: the table that knows how far each set is. What it concludes is confirmed in SQL before anybody hears of it."""

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dataharvest import metrics, tracing
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import ContractTrouble, Unavailable
from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch, BatchDone, ChunkPersisted, DeliveryJudged, DeliverySealed, Progress, decode_progress
from dataharvest.ports import Judgements, LockedSet, Removals, Sender, Sets
from dataharvest.rulebook import waived_entities
from dataharvest.rules import progress, versions
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import blocked_note, ready_note
from dataharvest.rules.progress import SetProgress
from dataharvest.rules.standing import standing
from dataharvest.rules.versions import SetView
from dataharvest.stages.compare_totals import compare_totals
from dataharvest.stages.judge import AtOnce, send_unsent_judgements
from dataharvest.stages.remove import remove_rows
from dataharvest.stages.send_readiness import send_readiness, send_unsent_readiness
from dataharvest.stages.turns import each

logger = logging.getLogger(__name__)

_ENDS_REMEMBERED = 10_000


@dataclass
class Fold:
    """Applies the facts of ``progress`` to the table and acts when something is full."""

    sets: Sets
    judgements: Judgements
    removals: Removals
    sender: Sender
    rules: Mapping[str, Rule]
    settle_s: float
    at_once: AtOnce | None = None
    """Without it every delivery is judged by whoever gets its message."""
    clock: Callable[[], float] = time.monotonic
    _later: dict[SetKey, float] = field(default_factory=dict)
    """Sets to be decided again, and when by the clock; those that get lost with this worker are found by the sweep."""
    _removing: set[SetKey] = field(default_factory=set)
    """Sets that may have rows to be removed."""
    _trusted: set[bytes] = field(default_factory=set)
    _ended: dict[tuple[bytes, str], None] = field(default_factory=dict)
    """Deliveries and rules decided about, the latest of them; what is still said of them changes nothing."""

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
        is_a_step = isinstance(fact, ChunkPersisted | BatchDone | DeliveryJudged)
        return is_a_step and not progress.lists(table.get(fact.key) or progress.nothing(), fact)

    async def _end(self, fact: Progress, key: SetKey, table: MutableMapping[bytes, SetProgress]) -> None:
        """Take in a fact that says by itself that something has ended: nothing has to be counted, in the table or the ledger."""
        await (self.conclude(fact) if isinstance(fact, BatchDone) else self.decide(key))
        self._note_end((fact.key, progress.subject_of(fact)))
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
        # While a delivery is judged the set is where it was: there is nothing to decide.
        if set(concluded.values()) - {"judging"} or has_ended and not await self._is_judged_yet(fact):
            await self.decide(key)
        # What is judged, or done, needs no further look when more is said of how it came so far.
        subjects = [subject for subject, outcome in concluded.items() if outcome in ("judging", "judged", "rule")]
        for subject in [*subjects, progress.subject_of(fact)] if has_ended else subjects:
            self._note_end((fact.key, subject))
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

    def _note_end(self, subject: tuple[bytes, str]) -> None:
        self._ended[subject] = None
        if len(self._ended) > _ENDS_REMEMBERED:
            # The oldest: forgetting one costs a look into the ledger, nothing else.
            del self._ended[next(iter(self._ended))]

    async def conclude(self, done: BatchDone | Batch) -> None:
        """Record that a rule is done whose batches all are, and decide what comes next."""
        key = SetKey(done.tenant, done.business_date)
        if rule := self.rules.get(done.rule):
            await self.sets.confirm_done(key, done.version, rule)
        await self.decide(key)

    async def decide(self, key: SetKey) -> None:
        """Make the version that is due, announce every rule that is ready, and send what is unsent."""
        async with self.sets.locked(key) as locked:
            rules = self.rules.values()
            view = await locked.view()
            contract = await self._contract(locked, view, key)
            if contract is None:
                return
            totals = await compare_totals(locked, view, manifest_rule=contract.manifest, rules=rules)
            settle_s = 0.0 if totals.is_vouched_for else self.settle_s
            if totals.may_go_on and await self._make_version(locked, view, key, contract, settle_s=settle_s):
                view = await locked.view()
            if await self._end_published(locked, view, key):
                view = await locked.view()
            # A version that has begun to go out finishes, whatever the sender says now: half of it would help nobody.
            outgoing = {version.version for version in view.versions if versions.is_publishing(version, rules=rules)}
            announced = [
                (number, rule)
                for number, rule in versions.announcements(view, rules=rules)
                if totals.may_go_on or number in outgoing
            ]
            for number in sorted({number for number, _ in announced}):
                await locked.announce(number, *(rule for of, rule in announced if of == number))
            await self._tell_if_blocked(locked, view, key, contract, problem=totals.problem)
        failpoint("fold.readiness_decided")
        if view.has_unsent:
            await send_unsent_readiness(key, sets=self.sets, sender=self.sender)
        else:
            await send_readiness(key, [(number, rule.name) for number, rule in announced], sets=self.sets, sender=self.sender)
        if view.has_unneeded:
            self._removing.add(key)

    async def _contract(self, locked: LockedSet, view: SetView, key: SetKey) -> Contract | None:
        try:
            return await locked.contract(view)
        except ContractTrouble as trouble:
            # Stored by another version of the program. Nothing is lost: the sweep asks again once it is replaced.
            logger.error("contract can't be read, the set waits", extra={**key_details(key), "reason": trouble.message})
            return None

    async def _end_published(self, locked: LockedSet, view: SetView, key: SetKey) -> bool:
        """Note the versions whose messages are all out; whether there was one."""
        rules = self.rules.values()
        ended = [one.version for one in view.versions if one.state == "open" and versions.is_published(one, rules=rules)]
        for number in ended:
            waited_s = await locked.set_published(number)
            if waited_s is not None:
                metrics.SET_PUBLISHED_SECONDS.observe(waited_s)
            logger.info("set published", extra={**key_details(key), "version": number})
        return bool(ended)

    async def _make_version(self, locked: LockedSet, view: SetView, key: SetKey, contract: Contract, *, settle_s: float) -> bool:
        """Make the version that is due; whether one was."""
        threshold = contract.quarantine_threshold
        due = versions.due_version(view, required=contract.required, quarantine_threshold=threshold, settle_s=settle_s)
        wait_s = versions.due_in_s(view, required=contract.required, quarantine_threshold=threshold, settle_s=settle_s)
        if wait_s is not None:
            self._later[key] = self.clock() + wait_s
        if due is not None:
            number = view.versions[-1].version + 1 if view.versions else 1
            waited_s = await locked.create_version(number, due, waived=waived_entities(contract, present=due))
            metrics.SET_READY_SECONDS.observe(waited_s)
            await locked.notify(ready_note(*key, version=number))
            if tracing.is_on():
                await self._trace_version(locked, key, number, due)
            logger.info("set ready", extra={**key_details(key), "version": number})
        return due is not None

    async def _trace_version(self, locked: LockedSet, key: SetKey, number: int, due: Mapping[str, int]) -> None:
        # A version has several files and a span one parent: the others are linked.
        links = await locked.traceparents(due.values())
        with tracing.span("ready", {**key_details(key), "version": number}, links=links):
            if found := tracing.traceparent():
                await locked.note_trace(number, found)

    async def _tell_if_blocked(
        self, locked: LockedSet, view: SetView, key: SetKey, contract: Contract, *, problem: Mapping[str, Any] | None
    ) -> None:
        if view.versions and view.versions[-1].state == "blocked":
            # Told when it was blocked, by whoever knew why.
            return
        stands = standing(
            view,
            required=contract.required,
            rules=list(self.rules.values()),
            quarantine_threshold=contract.quarantine_threshold,
            problem=problem,
        )
        newest = {entity: one.delivery_id for entity, one in versions.newest_complete(view.deliveries).items()}
        if note := blocked_note(*key, stands, deliveries=newest):
            await locked.notify(note)

    async def decide_settled(self) -> int:
        """Decide about the sets for which enough time has passed since their last seal, and remove what nobody needs.

        Returns:
            How many sets were decided about.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there; call again.
        """
        now = self.clock()
        settled = [key for key, due_at in self._later.items() if due_at <= now]
        try:
            await each(settled, partial(self._decide_again, now=now))
        finally:
            # Removing does not wait for decisions.
            await each(list(self._removing), self._remove)
        return len(settled)

    async def _decide_again(self, key: SetKey, *, now: float) -> None:
        await self.decide(key)
        # Decided again it may have been put off again.
        if self._later[key] <= now:
            del self._later[key]

    async def _remove(self, key: SetKey) -> None:
        # First: while the rows are being removed the set may be decided about again.
        self._removing.discard(key)
        try:
            await remove_rows(key, removals=self.removals)
        except Unavailable:
            self._removing.add(key)
            raise

    async def _known(self, fact: Progress, key: SetKey, table: Mapping[bytes, SetProgress]) -> SetProgress:
        state = table.get(fact.key)
        if state is not None and fact.key in self._trusted and progress.lists(state, fact) and not progress.doubts(state, fact):
            return state
        # A fact is sent after its commit: the ledger knows all that the table knows.
        return progress.without_single_batches(await self.sets.progress(key, rules=self.rules.values()))

    async def _judge_small(self, delivery_id: int) -> str | None:
        return await self.at_once.judge(delivery_id) if self.at_once else None

    async def _conclude(self, key: SetKey, state: SetProgress) -> tuple[SetProgress, dict[str, str]]:
        """What is left of the progress, and by subject what became of what was finished: "rule", "judged" or a state."""
        concluded: dict[str, str] = {}
        for delivery_id in progress.full_deliveries(state):
            outcome = await self._judge_small(delivery_id) or await self.judgements.begin(delivery_id)
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


def key_details(key: SetKey) -> dict[str, str]:
    """The set, for a log line."""
    return {"tenant": key.tenant, "business_date": key.business_date.isoformat()}
