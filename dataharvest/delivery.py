"""How every stage and loop treats failure: retry, dead-letter, or let the worker stop. The one broad handler is here."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any, NoReturn

import faust
from faust.types import EventT, StreamT

from dataharvest import metrics, tracing
from dataharvest.disk_trouble import is_disk_trouble, stop_for_the_disk
from dataharvest.errors import Misconfigured, Rejected, Unavailable
from dataharvest.faust_repairs import EXIT_BUG, Tripwire, discard, halted
from dataharvest.ports import DeadLetters, Position
from dataharvest.replaying.dead_letters import was_sent_again
from dataharvest.suspects import Suspects
from dataharvest.watchdog import Vitals

logger = logging.getLogger(__name__)

EXIT_MISCONFIGURED = 78
CRASHES_ALLOWED = 3
_FIRST_DELAY_S, _LONGEST_DELAY_S, _SLICE_S = 0.1, 10.0, 0.05
_WITHDRAWAL_S = 1.0

Handler = Callable[[bytes, Position], Awaitable[None]]


@dataclass
class Delivery:
    """Hands the events of a stage to its handler and acknowledges what was handled, and nothing else."""

    app: faust.App
    dead_letters: DeadLetters
    suspects: Suspects
    tripwire: Tripwire = field(default_factory=Tripwire)
    vitals: Vitals = field(default_factory=lambda: Vitals(limit_s=inf))

    async def run(self, stream: StreamT[bytes], handle: Handler, *, stage: str) -> None:
        """The loop of every agent: one event at a time, acknowledged once its effects are safe."""
        raw: Any = stream
        events: AsyncIterator[EventT[bytes]] = raw.noack().events()
        async for event in events:
            if await self.deliver(event, handle, stage=stage):
                event.ack()
            else:
                discard(self.app, event)

    async def deliver(self, event: EventT[bytes], handle: Handler, *, stage: str) -> bool:
        """Handle one event, however long an outage lasts.

        Returns:
            True when it was handled or dead-lettered; False when a rebalance, recovery or shutdown came first, and
            the event has to come again.
        """
        if halted(self.app):
            return False
        self.tripwire.check(event)
        position = position_of(event)
        self.vitals.pick_up(position)
        try:
            parent = tracing.parent_in(event.message.headers)
            with tracing.span(stage, position._asdict(), parent=parent), metrics.STAGE_SECONDS.labels(stage).time():
                handled = await self._handle_or_dead_letter(event, position, handle, stage)
        except Exception as error:  # a bug: nobody may go on as if nothing had happened
            if is_disk_trouble(error):
                await self._withdraw(position)
                stop_for_the_disk(f"stage {stage}", error)
            try:
                await self.suspects.record_crash(position, error)
            finally:
                # Whatever recording raises: an exception that left the agent would acknowledge the event.
                stop_loudly(f"stage {stage}", error)
        finally:
            self.vitals.put_down(position)
        if handled:
            self.tripwire.passed(event)
        return handled

    async def _handle_or_dead_letter(self, event: EventT[bytes], position: Position, handle: Handler, stage: str) -> bool:
        for attempt in count(1):
            try:
                return await self._attempt(event, position, handle, stage)
            except Unavailable as outage:
                delay_s = delay_before(attempt)
                details = {"stage": stage, "attempt": attempt, "delay_s": delay_s, "reason": str(outage)}
                logger.warning("stage unavailable, retrying", extra=details)
                metrics.STAGE_RETRIES.labels(stage).inc()
                self.vitals.pick_up(position)
                await self._withdraw(position)
                if not await self._pause(delay_s):
                    return False
        raise AssertionError("unreachable: the count never ends")

    async def _attempt(self, event: EventT[bytes], position: Position, handle: Handler, stage: str) -> bool:
        await self.tripwire.check_first(event)
        crashes = await self.suspects.crashes_before(position)
        if not crashes:
            await self._handle(event, position, handle, stage, crashes=0)
            return True
        while self.suspects.alone.locked():
            if not await self._pause(_SLICE_S):
                return False
        async with self.suspects.alone:
            await self._handle(event, position, handle, stage, crashes=crashes)
        return True

    async def _handle(self, event: EventT[bytes], position: Position, handle: Handler, stage: str, *, crashes: int) -> None:
        try:
            if crashes >= CRASHES_ALLOWED:
                raise Rejected(f"the message ended its worker {CRASHES_ALLOWED} times", rule="crashed_worker")
            # Whoever had it sent again wants it tried, and may not have noted yet that it was.
            asked_for = was_sent_again(event.message.headers)
            if not asked_for and await self.suspects.is_given_up(position, event.message.key):
                logger.warning("copy of a dead letter passed", extra={"stage": stage, **position._asdict()})
                await self.suspects.clear(position)
                return
            await self.suspects.note(position)
            if event.message.value is None:
                raise Rejected("the message has no value", rule="empty_message")
            await handle(event.message.value, position)
        except Rejected as rejected:
            await self.dead_letters.keep(position, message=event.message, stage=stage, reason=rejected)
            log = logger.error if rejected.rule == "crashed_worker" else logger.warning
            log("message dead-lettered", extra={"stage": stage, "rule": rejected.rule, **position._asdict()})
            metrics.DEAD_LETTERED.labels(stage, rejected.rule).inc()
            if rejected.rule == "crashed_worker":
                # Its offset is not committed yet: if the worker ends now, the message must be known when it comes again.
                # And copies of it may come next.
                self.suspects.forget()
                return
        await self.suspects.clear(position)

    async def _withdraw(self, position: Position) -> None:
        # To wait is not to crash: three kills or rebalances in an outage must not make a good message a "crashed_worker".
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_WITHDRAWAL_S):
                await self.suspects.clear(position)

    async def _pause(self, delay_s: float) -> bool:
        # In slices: an actor that sleeps while its partition is taken away makes the whole worker exit.
        for _ in range(max(1, round(delay_s / _SLICE_S))):
            if halted(self.app):
                return False
            await asyncio.sleep(_SLICE_S)
        return not halted(self.app)


def position_of(event: EventT[Any]) -> Position:
    """Where the event stands: topic, partition and offset."""
    message = event.message
    return Position(topic=message.topic, partition=message.partition, offset=message.offset)


def delay_before(attempt: int) -> float:
    """Seconds to wait after the given attempt, from 1: doubling, bounded."""
    return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempt - 1, 16))


async def run_loop(step: Callable[[], Awaitable[None]], *, name: str, stopping: Callable[[], bool]) -> None:
    """Repeat a step that works through what it finds and waits by itself; bugs end the process.

    Outages are retried. So is a step in which PostgreSQL refused some data: that is one item's trouble, and ending the
    process would stop everything else and come to the same item again.
    """
    attempt = 0
    while not stopping():
        try:
            await step()
            attempt = 0
        except Unavailable as outage:
            attempt += 1
            details = {"loop": name, "attempt": attempt, "reason": str(outage)}
            logger.warning("loop unavailable, retrying", extra=details)
            metrics.LOOP_RETRIES.labels(name).inc()
            await asyncio.sleep(delay_before(attempt))
        except Rejected as reason:
            attempt += 1
            details = {"loop": name, "attempt": attempt, "rule": reason.rule, "reason": reason.message}
            logger.error("loop met what it can't take, going on", extra=details)
            await asyncio.sleep(delay_before(attempt))
        except Exception as error:  # as in deliver
            stop_loudly(f"loop {name}", error)


async def until_available(check: Callable[[], Awaitable[None]], *, what: str) -> None:
    """Wait for a service at the start; a misconfiguration ends the process with one sentence."""
    for attempt in count(1):
        try:
            await check()
            return
        except Unavailable as outage:
            logger.warning("waiting at the start", extra={"for": what, "attempt": attempt, "reason": str(outage)})
            await asyncio.sleep(delay_before(attempt))
        except Misconfigured as error:
            refuse_to_start(error)


def refuse_to_start(error: Misconfigured) -> NoReturn:
    """End the process with the sentence that says what to do; no traceback."""
    # Faust turns what is printed into log lines; this sentence is for whoever typed the command.
    print(f"dataharvest: {error}", file=sys.__stderr__, flush=True)
    logging.shutdown()
    os._exit(EXIT_MISCONFIGURED)


def stop_loudly(where: str, error: BaseException) -> NoReturn:
    """End the process at once after a bug; a supervisor starts it again and uncommitted work is repeated."""
    logger.critical("bug, the worker ends", extra={"where": where}, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_BUG)
