"""Decide: what is due for a set is made, announced and sent, from what the ledger says under the set's lock."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dataharvest import metrics, tracing
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey
from dataharvest.errors import ContractTrouble, Unavailable
from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch, BatchDone
from dataharvest.ports import LockedSet, Removals, Sender, Sets
from dataharvest.rulebook import waived_entities
from dataharvest.rules import versions
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import blocked_note, ready_note
from dataharvest.rules.standing import standing
from dataharvest.rules.versions import SetView
from dataharvest.stages.compare_totals import compare_totals
from dataharvest.stages.remove import remove_rows
from dataharvest.stages.send_readiness import send_readiness, send_unsent_readiness
from dataharvest.stages.turns import each

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What was decided about a set, to be told once it is committed."""

    key: SetKey
    announced: tuple[tuple[int, str], ...] = ()
    """Version and rule of what may run now."""
    has_unsent: bool = False
    """Whether some of what was announced before is unsent."""
    has_unneeded: bool = False
    """Whether there are rows that nobody needs any more."""


@dataclass
class Decisions:
    """Decides about sets whenever something has happened to them, and again once they have settled."""

    sets: Sets
    removals: Removals
    sender: Sender
    rules: Mapping[str, Rule]
    settle_s: float
    clock: Callable[[], float] = time.monotonic
    _later: dict[SetKey, float] = field(default_factory=dict)
    """Sets to be decided again, and when by the clock; those that get lost with this worker are found by the sweep."""
    _removing: set[SetKey] = field(default_factory=set)
    """Sets that may have rows to be removed."""

    async def conclude(self, done: BatchDone | Batch) -> None:
        """Record that a rule is done whose batches all are, and decide what comes next."""
        key = SetKey(done.tenant, done.business_date)
        if rule := self.rules.get(done.rule):
            await self.sets.confirm_done(key, done.version, rule)
        await self.decide(key)

    async def decide(self, key: SetKey) -> None:
        """Make the version that is due, announce every rule that is ready, and send what is unsent."""
        async with self.sets.locked(key) as locked:
            decision = await self.decide_within(locked, key)
        await self.tell(decision)

    async def decide_within(self, locked: LockedSet, key: SetKey) -> Decision:
        """The same in the transaction in which the set is locked; whoever commits it tells of the decision then."""
        rules = self.rules.values()
        view = await locked.view()
        contract = await self._contract(locked, view, key)
        if contract is None:
            return Decision(key)
        totals = await compare_totals(locked, view, manifest_rule=contract.manifest, rules=rules)
        settle_s = 0.0 if totals.is_vouched_for else self.settle_s
        if totals.may_go_on and await self._make_version(locked, view, key, contract, settle_s=settle_s):
            view = await locked.view()
        view = await self._end_published(locked, view, key)
        # A version that has begun to go out finishes, whatever the sender says now: half of it would help nobody.
        outgoing = {version.version for version in view.versions if versions.is_publishing(version, rules=rules)}
        due = versions.announcements(view, rules=rules)
        announced = [(number, rule) for number, rule in due if totals.may_go_on or number in outgoing]
        for number in sorted({number for number, _ in announced}):
            await locked.announce(number, *(rule for of, rule in announced if of == number))
        await self._tell_if_blocked(locked, view, key, contract, problem=totals.problem)
        names = tuple((number, rule.name) for number, rule in announced)
        return Decision(key, names, has_unsent=view.has_unsent, has_unneeded=view.has_unneeded)

    async def tell(self, decision: Decision) -> None:
        """Send the readiness of what was announced, now that it is committed; rows that nobody needs are removed later."""
        failpoint("fold.readiness_decided")
        if decision.has_unsent:
            await send_unsent_readiness(decision.key, sets=self.sets, sender=self.sender)
        else:
            await send_readiness(decision.key, decision.announced, sets=self.sets, sender=self.sender)
        if decision.has_unneeded:
            self._removing.add(decision.key)

    async def _contract(self, locked: LockedSet, view: SetView, key: SetKey) -> Contract | None:
        try:
            return await locked.contract_of(key.tenant, view.contract_version)
        except ContractTrouble as trouble:
            # Stored by another version of the program. Nothing is lost: the sweep asks again once it is replaced.
            logger.error("contract can't be read, the set waits", extra={**key_details(key), "reason": trouble.message})
            return None

    async def _end_published(self, locked: LockedSet, view: SetView, key: SetKey) -> SetView:
        """Note the versions whose messages are all out; the set as it is then."""
        rules = self.rules.values()
        ended = [one.version for one in view.versions if one.state == "open" and versions.is_published(one, rules=rules)]
        for number in ended:
            waited_s = await locked.set_published(number)
            if waited_s is not None:
                metrics.SET_PUBLISHED_SECONDS.observe(waited_s)
            logger.info("set published", extra={**key_details(key), "version": number})
        return versions.with_published(view, ended)

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


def key_details(key: SetKey) -> dict[str, str]:
    """The set, for a log line."""
    return {"tenant": key.tenant, "business_date": key.business_date.isoformat()}
