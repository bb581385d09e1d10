"""What is small is done where it is found to be due: with the same outcome, wherever its worker ends, and with fewer messages."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dataharvest.adapters.memory_kafka import Sent
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, Judgement, decode_work
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.stages import publish
from dataharvest.stages.fan_out import send_next_batches
from tests.agents.losses import QUIET, expected, swept
from tests.agents.test_lost_table import Journey
from tests.agents.worlds import World, example_files

_LARGE_CHUNK, _MANY = 10_000, 1_000
STEPS = {
    "judgements": ("begin_small", "begin", "open", "unsent", "mark_sent", "is_going_on"),
    "sets": ("progress", "confirm_done", "locked", "unsent_readiness", "mark_readiness_sent"),
    "work": ("record_counts", "plan_small", "plan", "is_done", "open_batch", "unsent_outbound", "mark_done", "next_batches"),
    "sender": ("send", "send_many"),
}
"""What a fold, a fan-out and a batch do, one after the other."""


class Killed(Exception):
    """The worker was ended."""


@dataclass
class Mortality:
    """Ends the worker before or after one of its steps."""

    step: int
    is_after: bool
    reached: int = 0

    def is_due(self) -> bool:
        self.reached += 1
        return self.reached == self.step

    def afflict(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count the steps of the world's stages from now on."""
        services = world.services
        ports = {"judgements": services.judge.judgements, "sets": services.sets, "work": services.work, "sender": world.sender}
        for name, methods in STEPS.items():
            for method in methods:
                monkeypatch.setattr(ports[name], method, self._step(getattr(ports[name], method)))

    def _step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        is_block = hasattr(method, "__wrapped__")
        return self._block(method) if is_block else self._call(method)

    def _call(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            is_due = self.is_due()
            if is_due and not self.is_after:
                raise Killed
            outcome = await method(*arguments, **named)
            if is_due:
                raise Killed
            return outcome

        return call

    def _block(self, method: Callable[..., AbstractAsyncContextManager[Any]]) -> Callable[..., Any]:
        @asynccontextmanager
        async def block(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
            is_due = self.is_due()
            if is_due and not self.is_after:
                raise Killed
            async with method(*arguments, **named) as found:
                yield found
            if is_due:
                raise Killed

        return block


def small_world() -> World:
    return World(chunk_bytes=_LARGE_CHUNK, small_records=_MANY)


def kinds(sent: list[Sent]) -> Counter[str]:
    return Counter(one.topic for one in sent if not one.topic.startswith("outbound."))


async def test_a_small_set_needs_no_message_of_work_and_says_the_same() -> None:
    world = small_world()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()
        assert await swept(world) == QUIET
    rules, files = len(all_rules()), len(example_files())
    # Each file is sealed and stored.
    assert kinds(world.sender.sent) == {"chunks": files, "progress": 2 * files, "readiness": rules, "notifications": 1}
    assert sorted(world.outbound()) == await expected() != []


async def test_what_is_not_small_is_left_to_its_message() -> None:
    world = World(chunk_bytes=_LARGE_CHUNK, small_records=3)
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()
    assert kinds(world.sender.sent)["work"] > len(all_rules())
    assert sorted(world.outbound()) == await expected()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_wherever_the_worker_ends_the_set_is_published_without_a_sweep(
    monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    wanted, step, ended = await expected(), 0, True
    while ended:
        step += 1
        ended = await _ends_at(Mortality(step, is_after), monkeypatch, wanted)
    # Four judgements and six rules took at least a step each.
    assert step > len(example_files()) + len(all_rules())


async def _ends_at(mortality: Mortality, monkeypatch: pytest.MonkeyPatch, wanted: list[Sent]) -> bool:
    """Whether the worker has ended at this step, and not before it came to it."""
    journey = Journey(small_world())
    waiting = await journey.begin()
    ended = False
    with monkeypatch.context() as patched:
        mortality.afflict(journey.world, patched)
        while waiting:
            message = waiting.pop(0)
            try:
                waiting += await journey.give(message)
            except Killed:
                ended = True
                journey.lose({})
                # It is read again, after whatever it had sent.
                waiting += [*journey.world.unread(), message]
            waiting = [one for one in waiting if not one.topic.startswith(("outbound.", "notifications"))]
    assert sorted(set(journey.world.outbound())) == wanted, (mortality, ended)
    assert await swept(journey.world) == QUIET
    return ended


async def test_a_batch_that_is_done_at_once_is_sent_by_nobody_else_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    world, taken = small_world(), []
    send = publish._send

    async def sends_while_others_choose(unsent: Any, batch: Batch, *arguments: Any, **named: Any) -> None:
        # Another set of the tenant has ended a batch, and its worker sends what comes next.
        taken.append(await send_next_batches(batch.tenant, work=world.services.work, sender=world.sender))
        await send(unsent, batch, *arguments, **named)

    monkeypatch.setattr(publish, "_send", sends_while_others_choose)
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()
    assert taken == [0, 0]
    assert sorted(world.outbound()) == await expected() != []


async def test_a_judgement_that_was_begun_when_its_worker_ended_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey(small_world())
    [sealed, *_] = [one for one in await journey.begin() if b"delivery_sealed" in one.value]
    [chunk] = [one for one in journey.world.sender.sent if one.topic == "chunks" and one.key.startswith(b"1:")]
    await journey.give(chunk)
    with monkeypatch.context() as patched:
        patched.setattr(journey.world.services.judge.judgements, "open", _killed)
        with pytest.raises(Killed):
            await journey.give(sealed)
    [sent] = [one for one in await journey.give(sealed) if one.topic == "work"]
    judgement = decode_work(sent.value)
    assert isinstance(judgement, Judgement) and judgement.delivery_id == 1


async def test_a_small_file_with_duplicates_is_left_to_its_message() -> None:
    world = small_world()
    [accounts] = [key for key in example_files() if "accounts" in key]
    content = example_files()[accounts]
    async with world.agents() as agents:
        await agents.upload({accounts: content + content.splitlines(keepends=True)[1]})
        await agents.run()
    assert kinds(world.sender.sent)["work"] == 1
    assert world.ledger.deliveries[1].quarantined_count == 2


async def test_what_ends_a_small_batchs_worker_is_met_again_at_work_and_not_where_it_was_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journey = Journey(small_world())
    waiting = await journey.begin()
    with monkeypatch.context() as patched:
        patched.setattr(journey.world.services.work, "open_batch", _killed)
        while waiting and waiting[0].topic != "readiness":
            waiting += await journey.give(waiting.pop(0))
        with pytest.raises(Killed):
            await journey.give(waiting[0])
        [batch] = await journey.give(waiting[0])
        assert (batch.topic, decode_work(batch.value).type) == ("work", "batch")
        with pytest.raises(Killed):
            await journey.give(batch)


async def test_a_small_batch_that_is_refused_is_refused_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey(small_world())
    waiting = await journey.begin()
    with monkeypatch.context() as patched:
        patched.setattr(journey.world.services.work, "open_batch", _refused)
        while waiting and waiting[0].topic != "readiness":
            waiting += await journey.give(waiting.pop(0))
        [batch] = await journey.give(waiting[0])
        assert RELATIONSHIP.encode() in batch.key
        with pytest.raises(Rejected):
            await journey.give(batch)


async def test_a_decision_that_is_refused_is_left_to_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey(small_world())
    waiting = await journey.begin()
    while waiting and waiting[0].topic != "readiness":
        waiting += await journey.give(waiting.pop(0))
    with monkeypatch.context() as patched:
        patched.setattr(journey.world.services.sets, "locked", _refused)
        [batch] = await journey.give(waiting[0])
        assert batch.topic == "work"
        [told] = await journey.give(batch)
        assert told.topic == "progress"
        with pytest.raises(Rejected):
            await journey.give(told)


@asynccontextmanager
async def _killed(*_: object, **__: object) -> AsyncIterator[None]:
    raise Killed
    yield


@asynccontextmanager
async def _refused(*_: object, **__: object) -> AsyncIterator[None]:
    raise Rejected("no", rule="sqlstate_22003")
    yield
