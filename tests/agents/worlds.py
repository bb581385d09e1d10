"""The whole journey on fakes: the pipeline's agents around adapters in memory, and a run of them without a broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import faust
import orjson
from faust.transport.consumer import Consumer
from faust.types import EventT

from dataharvest import pipeline
from dataharvest.adapters.memory_chunks import MemoryChunks
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_dead_letters import MemoryDeadLetterBox
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_judgement import MemoryJudgements, MemoryRemovals
from dataharvest.adapters.memory_kafka import MemorySender, Sent
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_manifests import MemoryManifests
from dataharvest.adapters.memory_notifications import MemoryNotifications, MemoryWebhookCalls
from dataharvest.adapters.memory_operations import MemoryJournal
from dataharvest.adapters.memory_quarantine import MemoryQuarantine
from dataharvest.adapters.memory_sets import MemorySets
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_sweeping import MemoryConsumption, MemorySweepState
from dataharvest.adapters.memory_tenants import MemoryTenants
from dataharvest.adapters.memory_work import MemoryWork
from dataharvest.delivery import Delivery
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected
from dataharvest.notifications import Notifications
from dataharvest.ports import Chunks, Contracts, Deliveries, Judgements, Manifests, Quarantine, Removals, Sets, Work
from dataharvest.rulebook import all_rules
from dataharvest.services import Services
from dataharvest.stages.announce import announce_endings
from dataharvest.stages.decide import Decisions
from dataharvest.stages.do_at_once import DoAtOnce
from dataharvest.stages.fold import Fold
from dataharvest.stages.judge import Judge
from dataharvest.stages.judge_at_once import JudgeAtOnce
from dataharvest.stages.notify import send_notifications
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.repair import Repairs
from dataharvest.stages.slots import Slots
from dataharvest.stages.split import Splitter
from dataharvest.stages.sweep import full_sweep
from dataharvest.stages.sweep_deliveries import SweptDeliveries
from dataharvest.stages.sweep_effects import SweptSets
from dataharvest.stages.window import Limits
from dataharvest.suspects import Suspects
from dataharvest.sweeping import SweepState
from dataharvest.tenants import Tenants

BUCKET = "uploads"
_LONG_S = 10.0
_EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the stages keep things in."""

    deliveries: Deliveries
    manifests: Manifests
    contracts: Contracts
    tenants: Tenants
    chunks: Chunks
    judgements: Judgements
    removals: Removals
    quarantine: Quarantine
    sets: Sets
    work: Work
    notifications: Notifications
    sweep_state: SweepState


@dataclass
class World:
    """The fakes, the application and how far each topic was read."""

    chunk_bytes: int = 60
    settle_s: float = 0.0
    slice_rows: int = 1_000_000
    """Rows that a slice of a judgement counts."""
    small_records: int = 0
    """Records of what is done at once, without a message of its own."""
    objects: MemoryObjectStore = field(default_factory=lambda: MemoryObjectStore(versioned=True))
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    sender: MemorySender = field(default_factory=MemorySender)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    consumption: MemoryConsumption = field(default_factory=MemoryConsumption)
    webhook_calls: MemoryWebhookCalls = field(default_factory=MemoryWebhookCalls)
    read_count: int = 0

    def __post_init__(self) -> None:
        """Attach the pipeline to an application that needs no broker."""
        self.dead_letters = MemoryDeadLetterBox(self.ledger)
        self.services = self._services()
        self.app = faust.App("agents", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False)
        # The real one has a thread and an event loop of its own as soon as it is looked at.
        self.app.consumer = Mock(spec=Consumer, _unacked_messages=set())
        delivery = Delivery(app=self.app, dead_letters=self.dead_letters, suspects=Suspects(self.journal))
        pipeline.attach(self.app, self.services, delivery, table_partitions=8)
        self.app.finalize()
        self.app.flow_control.resume()

    def _ports(self) -> Ports:
        deliveries = MemoryDeliveries(self.ledger, chunk_bytes=self.chunk_bytes, lease_s=30)
        self.sweep_state = MemorySweepState(self.ledger, deliveries.lease_of)
        contracts = MemoryContracts()
        return Ports(
            deliveries=deliveries,
            manifests=MemoryManifests(self.ledger),
            contracts=contracts,
            tenants=MemoryTenants(self.ledger),
            chunks=MemoryChunks(self.ledger),
            judgements=MemoryJudgements(self.ledger, slice_rows=self.slice_rows),
            removals=MemoryRemovals(self.ledger),
            quarantine=MemoryQuarantine(self.ledger),
            sets=MemorySets(self.ledger, contracts=contracts),
            work=MemoryWork(self.ledger),
            notifications=MemoryNotifications(self.ledger),
            sweep_state=self.sweep_state,
        )

    def _services(self) -> Services:
        ports, sender = self._ports(), self.sender
        deliveries, contracts, sets, work = ports.deliveries, ports.contracts, ports.sets, ports.work
        judgements, removals, notifications = ports.judgements, ports.removals, ports.notifications
        manifests = ManifestRegister(self.objects, ports.manifests, sender)
        decisions = Decisions(
            sets=sets,
            removals=removals,
            sender=sender,
            rules=all_rules(),
            settle_s=self.settle_s,
            clock=self.ledger.clock,
        )
        fold = Fold(
            sets=sets,
            judgements=judgements,
            sender=sender,
            rules=all_rules(),
            decisions=decisions,
            at_once=JudgeAtOnce(judgements=judgements, decisions=decisions, most_records=self.small_records),
        )
        splitter = Splitter(
            objects=self.objects,
            deliveries=deliveries,
            contracts=contracts,
            sender=sender,
            tenants=ports.tenants,
            limits=Limits(chunk_count=1000),
            max_content_bytes=1 << 20,
            lease_s=30,
        )
        swept = SweptDeliveries(
            bucket=BUCKET,
            objects=self.objects,
            deliveries=deliveries,
            manifests=manifests,
            contracts=contracts,
            splitter=splitter,
            sender=sender,
            state=ports.sweep_state,
            consumption=self.consumption,
        )
        swept_sets = SweptSets(
            notifications=notifications,
            sets=sets,
            work=work,
            judgements=judgements,
            removals=removals,
            decisions=decisions,
            sender=sender,
            rules=all_rules(),
            state=ports.sweep_state,
            consumption=self.consumption,
        )
        self.quarantine = ports.quarantine
        self.repairs = Repairs(quarantine=self.quarantine, contracts=contracts, objects=self.objects, sender=sender)
        return Services(
            bucket=BUCKET,
            objects=self.objects,
            sender=sender,
            deliveries=deliveries,
            manifests=manifests,
            contracts=contracts,
            chunks=ports.chunks,
            slots=Slots(100),
            sets=sets,
            work=work,
            quarantine=self.quarantine,
            repairs=self.repairs,
            sweep=full_sweep(swept, swept_sets, state=ports.sweep_state),
            dead_letters=self.dead_letters,
            notifications=notifications,
            webhook_calls=self.webhook_calls,
            decisions=decisions,
            fold=fold,
            judge=Judge(judgements, deliveries, self.objects, sender, contracts.version),
            at_once=DoAtOnce(work=work, sender=sender, decisions=decisions, most_records=self.small_records),
            splitter=splitter,
        )

    @asynccontextmanager
    async def agents(self) -> AsyncIterator["Agents"]:
        """The agents by topic, running."""
        running = Agents(self)
        yield running
        await running.stop()

    async def split_everything(self) -> None:
        """What the splitters' loop does, until nothing is left to split."""
        while lease := await self.services.deliveries.lease():
            try:
                await self.services.splitter.split(lease)
            except ContractTrouble as trouble:
                await self.services.deliveries.put_aside(lease, {"rule": trouble.rule})
            except Rejected as reason:
                await self.services.deliveries.reject(lease.delivery_id, reason)
            except ObjectTrouble as trouble:
                await self.services.deliveries.put_aside(lease, {"rule": f"object_{trouble.code}"})
        await announce_endings(deliveries=self.services.deliveries, sender=self.sender)

    def unread(self) -> list[Sent]:
        """Messages sent since the last time."""
        fresh = self.sender.sent[self.read_count :]
        self.read_count = len(self.sender.sent)
        return fresh

    def outbound(self) -> list[Sent]:
        """Messages that left for the systems downstream."""
        return [one for one in self.sender.sent if one.topic.startswith("outbound.")]


class Agents:
    """Agents that run in a test context, one for each topic that is consumed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._contexts: dict[str, Any] = {}

    async def give(
        self, topic: str, value: bytes | None, *, key: bytes = b"key", headers: tuple[tuple[str, bytes | None], ...] = ()
    ) -> EventT[Any]:
        """Hand the agent of the topic a message and wait until it is acknowledged."""
        context = await self._context(topic)
        event: EventT[Any] = await context.put(value, key=key, headers=list(headers))
        async with asyncio.timeout(_LONG_S):
            while not event.message.acked:
                await asyncio.sleep(0)
        return event

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Put files into the bucket and tell the first agent, in the order given."""
        for key, content in files.items():
            await self._world.objects.put(BUCKET, key, content)
            await self.give("uploads", s3_event(key))

    async def run(self) -> None:
        """Deliver and split until nothing is left to do."""
        while True:
            await self._world.split_everything()
            await self._world.services.decisions.decide_settled()
            await send_notifications(self._world.services.notifications, sender=self._world.sender)
            fresh = [one for one in self._world.unread() if one.topic in pipeline.CONSUMED]
            if not fresh:
                return
            for one in fresh:
                await self.give(one.topic, one.value, key=one.key, headers=one.headers)

    async def stop(self) -> None:
        """End the agents."""
        for context in self._contexts.values():
            await context.stop()

    async def _context(self, topic: str) -> Any:
        if topic not in self._contexts:
            agents: Mapping[str, Any] = self._world.app.agents
            [agent] = [one for one in agents.values() if topic in one.channel.topics]
            self._contexts[topic] = agent.test_context()
            await self._contexts[topic].start()
        return self._contexts[topic]


def s3_event(key: str) -> bytes:
    """What S3 says when an object was put under the key."""
    return orjson.dumps(
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}]}
    )


def example_files() -> dict[str, bytes]:
    """The example files by object key."""
    return {f"acme/{path.name}": path.read_bytes() for path in sorted(_EXAMPLES.glob("*.csv"))}
