"""What a sweep does about sets: effects that were not sent, messages that got lost, decisions not taken, sets that are late."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, BatchDone, RuleReady
from dataharvest.notifications import Notifications
from dataharvest.ports import Judgements, Position, Removals, Sender, Sets, Work
from dataharvest.rules.lateness import due_sets
from dataharvest.rules.needs import Rule
from dataharvest.rules.notifying import late_note
from dataharvest.stages.decide import Decisions
from dataharvest.stages.fan_out import send_next_batches
from dataharvest.stages.judge import send_judgement
from dataharvest.stages.notify import send_notifications
from dataharvest.stages.remove import remove_rows
from dataharvest.stages.send_readiness import send_unsent_readiness
from dataharvest.stages.turns import each
from dataharvest.sweeping import Consumption, SweepState

_OVERDUE_S = 120.0
_UNSENT_S = 60.0


@dataclass(kw_only=True)
class SweptSets:
    """Finds what is wrong with sets."""

    sets: Sets
    work: Work
    judgements: Judgements
    removals: Removals
    notifications: Notifications
    decisions: Decisions
    sender: Sender
    rules: Mapping[str, Rule]
    state: SweepState
    consumption: Consumption

    async def unsent_readiness(self) -> int:
        """Send readiness that nobody sent, and again what became of nothing."""
        overdue, unplanned = await self.state.overdue_readiness(), await self.state.unplanned_rules()
        return sum([*await each(overdue, self._send_readiness), *await each(unplanned, self._send_readiness_again)])

    async def _send_readiness(self, key: SetKey) -> int:
        await send_unsent_readiness(key, sets=self.sets, sender=self.sender)
        return 1

    async def _send_readiness_again(self, ready: RuleReady) -> int:
        await self.sender.send("readiness", key=ready.key, value=ready.encode())
        # Sent now: the next sweep gives it time.
        await self.sets.mark_readiness_sent(SetKey(ready.tenant, ready.business_date), [(ready.version, ready.rule)])
        return 1

    async def unsent_batches(self) -> int:
        """Send batches that nobody sent, as far as it is their tenant's turn."""
        send = partial(send_next_batches, work=self.work, sender=self.sender)
        return sum(await each(await self.state.tenants_with_overdue_batches(), send))

    async def batches_without_values(self) -> int:
        """Send batches again whose message was read and that are not done."""
        lost = [batch for batch, place in await self.state.silent_batches() if place is None or await self._is_past(place)]
        for batch in lost:
            await self._send_again(batch)
        return len(lost)

    async def unsent_outbound(self) -> int:
        """Let batches with unsent messages go out again."""
        batches = await self.state.unsent_outbound()
        for batch in batches:
            await self._send_again(batch)
        return len(batches)

    async def unsent_judgements(self) -> int:
        """Send the judgements of deliveries that wait for theirs."""
        overdue = await self.judgements.overdue(age_s=_OVERDUE_S)
        for judgement in overdue:
            await send_judgement(judgement, judgements=self.judgements, sender=self.sender)
        return len(overdue)

    async def remains_of_judgements(self) -> int:
        """Forget what was kept of deliveries that are not judged any more."""
        return await self.judgements.forget_concluded()

    async def untold_rules(self) -> int:
        """Conclude rules whose batches are all done: a message got lost, or was told while the version was blocked."""
        return len(await each(await self.state.untold_rules(self.rules.values()), self._conclude))

    async def _conclude(self, batch: Batch) -> Batch:
        done = BatchDone(**batch.model_dump(exclude={"type"}))
        # First: a sweep that ends right after it has recorded the fact does not find the rule again.
        await self.sender.send("progress", key=done.key, value=done.encode())
        # Not left to whoever reads it: the worker of the set may remember that the rule had ended when its version was blocked.
        await self.decisions.conclude(batch)
        # Told now: the next sweep gives it time.
        await self.work.mark_sent(batch)
        return batch

    async def undecided_sets(self) -> int:
        """Decide about sets that are complete but not ready, or in which nothing goes on; how many went on then."""
        before = await self._undecided()
        await each(sorted(before), self.decisions.decide)
        return len(before - await self._undecided())

    async def unneeded_rows(self) -> int:
        """Remove the rows of deliveries that nobody needs any more; of how many."""
        return await remove_rows(None, removals=self.removals)

    async def late_sets(self) -> int:
        """Mark the sets that are not complete at their cut-off."""
        late = 0
        now = await self.state.now()
        for tenant, due_at, since in await self.state.cutoffs():
            for day, due in due_sets(due_at, now=now, since=since):
                late += await self.state.mark_late(SetKey(tenant, day), due, late_note(tenant, day, due_at=due))
        return late

    async def unsent_notifications(self) -> int:
        """Send what tenants are told and nobody has sent."""
        return await send_notifications(self.notifications, sender=self.sender, age_s=_UNSENT_S)

    async def _undecided(self) -> set[SetKey]:
        return {*await self.state.idle_sets(), *await self.sets.sets_due(settle_s=self.decisions.settle_s)}

    async def _is_past(self, place: Position) -> bool:
        return await self.consumption.have_passed(place.topic, {place.partition: place.offset})

    async def _send_again(self, batch: Batch) -> None:
        position = await self.sender.send("work", key=batch.key, value=batch.encode())
        await self.work.mark_sent(batch, position)
