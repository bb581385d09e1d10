"""A sequence of events on the stages and the memory fakes: messages in any order, a worker that may end at any send, time that
passes when told to."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dataharvest import pipeline
from dataharvest.adapters.memory_kafka import MemorySender, Sent
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.errors import Rejected
from dataharvest.ports import Position
from dataharvest.rules.progress import SetProgress
from dataharvest.services import Services
from dataharvest.stages.fan_out import fan_out
from dataharvest.stages.persist import persist
from dataharvest.stages.register import register
from dataharvest.stages.work import work_on
from tests.agents.worlds import BUCKET, World, s3_event

SETTLE_S = 5.0
_READ_AGAIN = 3
_MOST_STEPS = 5_000


class Killed(Exception):
    """The worker was ended."""


class MortalSender(MemorySender):
    """A sender whose process ends within a send, if it was told to."""

    sends_left: int | None = None
    is_out = False

    async def send(self, topic: str, *, key: bytes, value: bytes) -> Position:
        """See the port."""
        if self._is_last() and not self.is_out:
            raise Killed
        position = await super().send(topic, key=key, value=value)
        if self.sends_left == 0:
            self.sends_left = None
            raise Killed
        return position

    async def send_many(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """See the port."""
        for key, value in messages:
            await self.send(topic, key=key, value=value)

    def _is_last(self) -> bool:
        if self.sends_left is None:
            return False
        self.sends_left -= 1
        if self.sends_left == 0 and not self.is_out:
            self.sends_left = None
            return True
        return False


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Journey:
    """Everything between the bucket and the outbound topics; one worker at a time."""

    versioned: bool = True
    slice_rows: int = 1_000_000
    """Rows that a slice of a judgement counts."""
    chunk_bytes: int = 100
    small_records: int = 0
    """Records of what is done at once, without a message of its own."""
    clock: Clock = field(default_factory=Clock)
    sender: MortalSender = field(default_factory=MortalSender)
    table: dict[bytes, SetProgress] = field(default_factory=dict)
    pending: list[Sent] = field(default_factory=list)
    read: list[Sent] = field(default_factory=list)
    dead_letters: list[tuple[Sent, Rejected]] = field(default_factory=list)
    is_swept: bool = False
    """Whether something happened that only the sweep can mend."""
    numbers: dict[tuple[str, datetime], int] = field(default_factory=dict)
    """By key and moment of an object, its number among all uploads, from 1."""

    def __post_init__(self) -> None:
        """Begin with an empty bucket."""
        self.world = World(
            chunk_bytes=self.chunk_bytes,
            small_records=self.small_records,
            settle_s=SETTLE_S,
            slice_rows=self.slice_rows,
            ledger=MemoryLedger(clock=self.clock),
            objects=MemoryObjectStore(versioned=self.versioned),
            sender=self.sender,
        )

    @property
    def services(self) -> Services:
        """What the worker works with."""
        return self.world.services

    async def put(self, key: str, data: bytes) -> None:
        """Put an object; its event waits to be read."""
        await self.world.objects.put(BUCKET, key, data)
        version = await self.world.objects.head(BUCKET, key)
        assert version is not None
        self.numbers[key, version.last_modified] = len(self.numbers) + 1
        self.pending.append(Sent("uploads", key.encode(), s3_event(key)))

    def restart(self) -> None:
        """End the worker and begin another: no table, no timers, leases lapsed, and the last messages are read again."""
        self.is_swept = True
        self.table = {}
        self.services.fold.forget()
        self.services.decisions._later.clear()
        self.services.decisions._removing.clear()
        for row in self.world.ledger.deliveries.values():
            row.leased_until = 0.0
        self.pending += self.read[-_READ_AGAIN:]

    def lose(self, chosen: random.Random) -> None:
        """Lose a message; on a bucket without versions no chunk, for what it held may be overwritten by now."""
        losable = [one for one in self.pending if self.versioned or one.topic != "chunks"]
        if losable:
            self.is_swept = True
            self.pending.remove(chosen.choice(losable))

    async def split(self) -> None:
        """Split whatever is there, also when the worker ends over it."""
        while True:
            try:
                await self.world.split_everything()
                await self.services.decisions.decide_settled()
                break
            except Killed:
                self.restart()
        self.pending += [one for one in self.world.unread() if one.topic in pipeline.CONSUMED]

    def next_message(self, chosen: random.Random, *, shuffled: bool) -> Sent:
        """Take one of the pending messages: any, or any that is the first of its topic and key."""
        first: dict[tuple[str, bytes], int] = {}
        for number, one in enumerate(self.pending):
            first.setdefault((one.topic, one.key), number)
        return self.pending.pop(chosen.randrange(len(self.pending)) if shuffled else chosen.choice(list(first.values())))

    async def give(self, message: Sent) -> None:
        """Let the stage have the message; it is read again when the worker ends over it."""
        try:
            await self._give(message)
        except Rejected as reason:
            self.dead_letters.append((message, reason))
        except Killed:
            self.pending.append(message)
            self.restart()
        self.read.append(message)
        self.pending += [one for one in self.world.unread() if one.topic in pipeline.CONSUMED]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what was waiting for it."""
        self.clock.now += seconds
        await self.split()

    async def come_to_rest(self) -> None:
        """Go on until nothing is left to do; the sweep helps only where it has to."""
        chosen = random.Random(0)
        for _ in range(_MOST_STEPS):
            await self.split()
            if self.pending:
                await self.give(self.next_message(chosen, shuffled=True))
                continue
            await self.pass_time(SETTLE_S + 1)
            if not self.pending and not await self._swept():
                return
        raise AssertionError("it never comes to rest")

    async def _swept(self) -> bool:
        if self.is_swept:
            try:
                await self.services.sweep.once()
            except Killed:
                self.restart()
            await self.split()
        return bool(self.pending)

    async def _give(self, message: Sent) -> None:
        services, sender = self.services, self.sender
        match message.topic:
            case "uploads":
                await register(
                    message.value,
                    bucket=BUCKET,
                    objects=services.objects,
                    deliveries=services.deliveries,
                    manifests=services.manifests,
                    contracts=services.contracts,
                )
            case "chunks":
                position = Position("chunks", 0, 0)
                await persist(message.value, position, chunks=services.chunks, deliveries=services.deliveries, sender=sender)
            case "progress":
                await services.fold.fold(message.value, table=self.table)
            case "readiness":
                await fan_out(message.value, work=services.work, sender=sender, at_once=services.at_once)
            case "work":
                await work_on(message.value, work=services.work, sender=sender, judge=services.judge)
