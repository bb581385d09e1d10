"""What becomes of an event: handled, retried, dead-lettered, given back, or the end of the worker."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.adapters.memory_kafka import MemoryDeadLetters
from dataharvest.adapters.memory_operations import MemoryJournal
from dataharvest.delivery import CRASHES_ALLOWED, Delivery, Handler, delay_before, run_loop, until_available
from dataharvest.errors import Rejected, Unavailable
from dataharvest.metrics import REGISTRY
from dataharvest.ports import Position, RawMessage
from dataharvest.replaying.dead_letters import SOURCE_HEADER
from dataharvest.suspects import Suspects


@dataclass
class FakeMessage:
    """A message at a place in Kafka."""

    offset: int = 7
    value: bytes | None = b"value"
    key: bytes | None = b"key"
    headers: Any = None
    topic: str = "work"
    partition: int = 0

    @property
    def tp(self) -> TP:
        return TP(self.topic, self.partition)

    def __hash__(self) -> int:
        return hash(self.offset)


@dataclass
class FakeEvent:
    """An event that remembers whether it was acknowledged."""

    message: FakeMessage = field(default_factory=FakeMessage)
    acks: int = 0

    def ack(self) -> None:
        self.acks += 1


class FakeApp:
    """As much of an application as a delivery looks at."""

    def __init__(self) -> None:
        self.should_stop = False
        self.is_flowing = True
        self.flow_control = self
        self.consumer = self
        self._unacked_messages: set[FakeMessage] = set()

    def is_active(self) -> bool:
        return self.is_flowing


class FakeStream:
    """A stream of given events."""

    def __init__(self, events: list[FakeEvent]) -> None:
        self._given = events
        self.is_noack = False

    def noack(self) -> "FakeStream":
        self.is_noack = True
        return self

    async def events(self) -> AsyncIterator[FakeEvent]:
        assert self.is_noack
        for event in self._given:
            yield event


@dataclass
class Site:
    """A delivery on fakes."""

    app: FakeApp = field(default_factory=FakeApp)
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def delivery(self) -> Delivery:
        app: Any = self.app
        return Delivery(app=app, dead_letters=self.dead_letters, suspects=Suspects(self.journal))

    async def deliver(self, event: FakeEvent, handle: Handler) -> bool:
        given_event: Any = event
        return await self.delivery().deliver(given_event, handle, stage="work")

    async def run(self, events: list[FakeEvent], handle: Handler) -> None:
        self.app._unacked_messages.update(event.message for event in events)
        stream: Any = FakeStream(events)
        await self.delivery().run(stream, handle, stage="work")

    @property
    def rules(self) -> list[str]:
        return [reason.rule for _, _, reason in self.dead_letters.kept.values()]


def failing(*errors: Exception) -> tuple[Handler, list[bytes]]:
    """A handler that fails with each error in turn and then works; and what it was called with."""
    remaining = list(errors)
    calls: list[bytes] = []

    async def handle(value: bytes, _: Position) -> None:
        calls.append(value)
        if remaining:
            raise remaining.pop(0)

    return handle, calls


REJECTED = Rejected("no rule is called that", rule="unknown_rule")


async def test_an_event_is_acknowledged_after_it_was_handled() -> None:
    site, event, seen = Site(), FakeEvent(), []

    async def handle(value: bytes, position: Position) -> None:
        seen.append((value, position, event.acks))

    await site.run([event], handle)
    assert seen == [(b"value", Position("work", 0, 7), 0)]
    assert event.acks == 1


async def test_events_are_handled_one_after_the_other() -> None:
    site = Site()
    handle, calls = failing()
    events = [FakeEvent(FakeMessage(offset=offset, value=str(offset).encode())) for offset in range(5)]
    await site.run(events, handle)
    assert calls == [b"0", b"1", b"2", b"3", b"4"]
    assert [event.acks for event in events] == [1] * 5


async def test_an_outage_is_retried_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    site, event = Site(), FakeEvent()
    handle, calls = failing(Unavailable("PostgreSQL"), Unavailable("Kafka"))
    with caplog.at_level(logging.WARNING, "dataharvest"):
        await site.run([event], handle)
    assert (len(calls), event.acks, site.rules) == (3, 1, [])
    delays = [vars(record)["delay_s"] for record in caplog.records]
    assert delays == [delay_before(1), delay_before(2)]


@given(st.integers(1, 10_000))
def test_delays_grow_and_are_bounded(attempt: int) -> None:
    assert 0 < delay_before(attempt) <= delay_before(attempt + 1) <= 10


async def test_what_is_rejected_is_dead_lettered_with_its_bytes_and_then_acknowledged() -> None:
    site, event = Site(), FakeEvent(FakeMessage(value=b"\x00poison"))
    handle, _ = failing(REJECTED)
    await site.run([event], handle)
    assert site.dead_letters.kept == {Position("work", 0, 7): (b"\x00poison", "work", REJECTED)}
    assert event.acks == 1


async def test_a_message_without_a_value_is_dead_lettered_unseen() -> None:
    site, event = Site(), FakeEvent(FakeMessage(value=None))
    handle, calls = failing()
    await site.run([event], handle)
    assert (calls, site.rules, event.acks) == ([], ["empty_message"], 1)


async def test_a_dead_letter_that_can_not_be_kept_is_tried_again() -> None:
    class Stubborn(MemoryDeadLetters):
        failures = 2

        async def keep(self, position: Position, *, message: RawMessage, stage: str, reason: Rejected) -> None:
            assert event.acks == 0
            if self.failures:
                self.failures -= 1
                raise Unavailable("Kafka")
            await super().keep(position, message=message, stage=stage, reason=reason)

    site, event = Site(dead_letters=Stubborn()), FakeEvent()
    handle, _ = failing(REJECTED, REJECTED, REJECTED)
    await site.run([event], handle)
    assert (site.rules, event.acks) == (["unknown_rule"], 1)


@pytest.mark.parametrize("why", ["shutdown", "rebalance"])
async def test_nothing_new_is_taken_once_the_flow_has_stopped(why: str) -> None:
    site, event = Site(), FakeEvent()
    site.app.should_stop, site.app.is_flowing = why == "shutdown", why == "shutdown"
    handle, calls = failing()
    await site.run([event], handle)
    assert (calls, event.acks) == ([], 0)
    assert site.app._unacked_messages == set()


@pytest.mark.parametrize("why", ["shutdown", "rebalance"])
async def test_an_outage_is_given_up_when_the_partition_goes_and_the_event_comes_again(why: str) -> None:
    site, event = Site(), FakeEvent()

    async def handle(_value: bytes, _: Position) -> None:
        site.app.should_stop, site.app.is_flowing = why == "shutdown", why == "shutdown"
        raise Unavailable("PostgreSQL")

    await site.run([event], handle)
    assert (event.acks, site.rules) == (0, [])
    assert site.app._unacked_messages == set()


async def test_giving_up_is_not_counted_as_a_crash() -> None:
    site, event = Site(journal=MemoryJournal(dead_lately=True)), FakeEvent()

    async def handle(_value: bytes, position: Position) -> None:
        assert site.journal.attempts == {position: 1}
        site.app.is_flowing = False
        raise Unavailable("PostgreSQL")

    for _ in range(CRASHES_ALLOWED + 1):
        site.app.is_flowing = True
        await site.run([event], handle)
    assert (site.journal.attempts, site.rules, event.acks) == ({}, [], 0)


async def test_what_was_handled_while_the_flow_stopped_is_still_acknowledged() -> None:
    site, event = Site(), FakeEvent()

    async def handle(_value: bytes, _: Position) -> None:
        site.app.is_flowing = False

    await site.run([event], handle)
    assert event.acks == 1


async def test_a_message_that_ended_its_worker_three_times_is_dead_lettered_unseen() -> None:
    site, event = Site(), FakeEvent()
    site.journal.attempts[Position("work", 0, 7)] = CRASHES_ALLOWED
    handle, calls = failing()
    await site.run([event], handle)
    assert (calls, site.rules, event.acks) == ([], ["crashed_worker"], 1)


async def test_what_ended_its_workers_is_not_tried_again_when_the_worker_ends_before_the_offset_is_committed() -> None:
    site = Site()
    site.journal.attempts[Position("work", 0, 7)] = CRASHES_ALLOWED
    handle, calls = failing()
    for _ in range(2):
        await site.run([FakeEvent()], handle)
    assert (calls, site.rules) == ([], ["crashed_worker"])
    assert site.journal.attempts == {Position("work", 0, 7): CRASHES_ALLOWED}


async def test_a_copy_of_a_chunk_that_ended_its_workers_ends_no_more_of_them() -> None:
    class Journal(MemoryJournal):
        async def given_up(self) -> set[bytes]:
            return {b"4:7"} if site.dead_letters.kept else set()

    first, copy, other = (FakeMessage(offset=offset, topic="chunks", key=b"4:7") for offset in (7, 8, 9))
    other.key = b"4:8"
    site = Site(journal=Journal(attempts={Position("chunks", 0, 7): CRASHES_ALLOWED, Position("chunks", 0, 8): 1}))
    handle, calls = failing()
    events = [FakeEvent(message) for message in (first, copy, other)]
    await site.run(events, handle)
    assert (calls, site.rules, [event.acks for event in events]) == ([b"value"], ["crashed_worker"], [1, 1, 1])
    assert site.journal.attempts == {Position("chunks", 0, 7): CRASHES_ALLOWED}


@pytest.mark.parametrize("headers", [{SOURCE_HEADER: b"chunks:0:7"}, [(SOURCE_HEADER, b"chunks:0:7")]])
async def test_a_copy_that_somebody_asked_for_is_tried_before_the_letter_says_so(headers: Any) -> None:
    site = Site(journal=MemoryJournal(given_up_keys={b"4:7"}))
    handle, calls = failing()
    await site.run([FakeEvent(FakeMessage(topic="chunks", key=b"4:7", headers=headers))], handle)
    assert (calls, site.rules) == ([b"value"], [])


async def test_a_message_that_ended_its_worker_twice_has_another_try() -> None:
    site, event = Site(), FakeEvent()
    site.journal.attempts[Position("work", 0, 7)] = CRASHES_ALLOWED - 1
    handle, calls = failing()
    await site.run([event], handle)
    assert (calls, site.rules, site.journal.attempts) == ([b"value"], [], {})


async def test_a_loop_is_repeated_until_told_to_stop_and_survives_outages() -> None:
    steps: list[str] = []

    async def step() -> None:
        steps.append("step")
        if len(steps) == 1:
            raise Unavailable("PostgreSQL")

    await run_loop(step, name="split", stopping=lambda: len(steps) == 3)
    assert len(steps) == 3


async def test_a_loop_goes_on_after_data_that_is_refused() -> None:
    steps: list[int] = []

    async def step() -> None:
        steps.append(1)
        if len(steps) < 2:
            raise Rejected("PostgreSQL refuses the data (SQLSTATE 22021)", rule="sqlstate_22021")

    await run_loop(step, name="sweep", stopping=lambda: len(steps) == 2)
    assert len(steps) == 2


async def test_a_start_waits_for_its_services() -> None:
    attempts: list[int] = []

    async def check() -> None:
        attempts.append(1)
        if len(attempts) < 2:
            raise Unavailable("Kafka")

    await until_available(check, what="Kafka")
    assert len(attempts) == 2


async def test_suspects_are_handled_one_at_a_time_so_that_one_death_counts_against_one_of_them() -> None:
    site = Site(journal=MemoryJournal(dead_lately=True))
    suspects = [FakeEvent(FakeMessage(offset=offset, partition=offset)) for offset in (1, 2, 3)]
    site.journal.attempts = {Position("work", offset, offset): 1 for offset in (1, 2, 3)}
    delivery, in_hand = site.delivery(), asyncio.Event()

    async def die(_: bytes, position: Position) -> None:
        in_hand.set()
        await asyncio.Event().wait()

    given: Any = suspects
    dying = [asyncio.create_task(delivery.deliver(event, die, stage="work")) for event in given]
    await in_hand.wait()
    site.app.should_stop = True
    assert await asyncio.gather(*dying[1:]) == [False, False]
    dying[0].cancel()
    assert site.journal.attempts == {Position("work", 1, 1): 2, Position("work", 2, 2): 1, Position("work", 3, 3): 1}


PREPARE = """
import asyncio
from dataharvest.delivery import run_loop, until_available
from dataharvest.errors import Misconfigured, Rejected, Unavailable
from test_delivery import FakeEvent, FakeMessage, MemoryJournal, Site, failing

class Journal(MemoryJournal):
    async def add(self, position, *, error):
        print("journal", position.offset, error, flush=True)
        if "broken" in globals():
            raise broken

site = Site(journal=Journal())
bug, _ = failing(ZeroDivisionError("a bug"))
well, _ = failing()
event = FakeEvent()
"""


def end_of(script: str) -> "subprocess.CompletedProcess[str]":
    """How a process ends that runs the script."""
    folder = __file__.rpartition("/")[0]
    code = f"import sys; sys.path.insert(0, {folder!r}){PREPARE}{script}\nprint('survived', event.acks)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_bug_ends_the_worker_at_once_and_is_written_down_before() -> None:
    ended = end_of("asyncio.run(site.run([event, FakeEvent()], bug))")
    assert ended.returncode == 70
    assert ended.stdout == "journal 7 ZeroDivisionError\n"
    assert "bug, the worker ends" in ended.stderr


def test_a_full_disk_ends_the_worker_and_is_no_fault_of_the_message() -> None:
    ended = end_of("full, _ = failing(OSError(28, 'No space left on device'))\nasyncio.run(site.run([event], full))")
    assert (ended.returncode, ended.stdout) == (74, "")
    assert "disk of the tables is full or broken, the worker ends" in ended.stderr


@pytest.mark.parametrize("why", ["Unavailable('PostgreSQL')", "Rejected('NUL', rule='sqlstate_22021')", "KeyError('bug')"])
def test_a_bug_ends_the_worker_even_if_it_can_not_be_written_down(why: str) -> None:
    ended = end_of(f"broken = {why}\nasyncio.run(site.run([event], bug))")
    assert (ended.returncode, "survived" in ended.stdout) == (70, False)


def test_a_skipped_offset_ends_the_worker_before_the_event_is_handled() -> None:
    ended = end_of(
        "async def handle(value, position): print('handled', position.offset, flush=True)\n"
        "events = [FakeEvent(FakeMessage(offset=offset)) for offset in (3, 4, 6)]\n"
        "asyncio.run(site.run(events, handle))"
    )
    assert (ended.returncode, ended.stdout) == (70, "handled 3\nhandled 4\n")


def test_a_bug_in_a_loop_ends_the_worker() -> None:
    ended = end_of("async def step(): 1 / 0\nasyncio.run(run_loop(step, name='split', stopping=lambda: False))")
    assert (ended.returncode, "survived" in ended.stdout) == (70, False)


def test_a_misconfiguration_ends_the_worker_with_one_sentence() -> None:
    ended = end_of(
        "async def check(): raise Misconfigured('run `dataharvest migrate`')\n"
        "asyncio.run(until_available(check, what='PostgreSQL'))"
    )
    assert ended.returncode == 78
    assert ended.stdout + ended.stderr == "dataharvest: run `dataharvest migrate`\n"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_retries_dead_letters_and_the_time_of_a_message_are_counted() -> None:
    stage = "counted"
    outages = iter((Unavailable("away"), Unavailable("away"), Rejected("never", rule="no_good")))

    async def handle(_: bytes, __: Position) -> None:
        raise next(outages)

    given_event: Any = FakeEvent()
    assert await Site().delivery().deliver(given_event, handle, stage=stage)

    assert counted("dataharvest_stage_retries_total", stage=stage) == 2
    assert counted("dataharvest_dead_lettered_total", stage=stage, rule="no_good") == 1
    assert counted("dataharvest_stage_seconds_count", stage=stage) == 1
    assert counted("dataharvest_stage_seconds_sum", stage=stage) > 0.1
