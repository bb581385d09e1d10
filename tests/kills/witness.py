"""A concurrent witness: what is committed is in the ledger, no commit falls, nothing is announced or sent early."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from dataharvest.pipeline import CONSUMED
from dataharvest.topics import load_topics
from tests.kills.ledger import GONE, Ledger
from tests.kills.sets import FileSet

GROUP = "dataharvest"
OUTBOUND = ("outbound.clients", "outbound.portfolios")
LOOK_S = 0.2

MessageId = str
Chunk = tuple[int, int]
"""Delivery and index."""
_OBJECT_KEY = re.compile(rb'"key": ?"([^"]+)"')
_CHUNK_KEY = re.compile(rb"([0-9]+):([0-9]+)")
Taker = Callable[["ConsumerRecord[bytes, bytes]"], None]


@dataclass
class Violations:
    """What must never be seen; sets, so that one fault counts once however long it lasts."""

    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)
    unready: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)

    def all(self) -> list[str]:
        """Every violation as a sentence."""
        named = vars(self).items()
        return [f"{kind}: {sentence}" for kind, sentences in named for sentence in sorted(sentences)]

    def lost_chunk_count(self) -> int:
        """Chunks that were committed and not stored; the other losses are rows and messages that follow from them."""
        return sum(sentence.startswith("chunks-") for sentence in self.lost)

    def unready_set_count(self) -> int:
        """Sets of which something is missing; their sentences begin with the tenant."""
        return len({sentence.partition(" ")[0] for sentence in self.unready})


class Witness:
    """Looks on from the first upload to the end of the run."""

    def __init__(self, *, broker: str, database_url: str, violations: Violations) -> None:
        self._broker = broker
        self.ledger = Ledger(database_url)
        self.violations = violations
        self.sets: dict[str, FileSet] = {}
        self.looks = 0
        self.announced: set[str] = set()
        self.sent: dict[MessageId, Counter[bytes]] = defaultdict(Counter)
        self.sent_at: dict[str, datetime] = {}
        self.received: list[tuple[str, bytes, bytes]] = []
        """Topic, key and value of every outbound message, in the order of arrival within each key."""
        self._chunks: dict[int, list[Chunk | None]] = defaultdict(list)
        self._verified: Counter[int] = Counter()
        self._forgotten: set[int] = set()
        self._committed: dict[TopicPartition, int] = {}
        self._resets = 0
        """Beginnings and ends of blocks in which commits may fall: odd inside one."""
        self._readiness_from = datetime(2000, 1, 1, tzinfo=UTC)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follow the topics and look again and again until the block ends."""
        takers = {"uploads": self._take_event, "chunks": self._take_chunk, **dict.fromkeys(OUTBOUND, self._take_outbound)}
        tasks = [asyncio.create_task(self._follow(topic, take)) for topic, take in takers.items()]
        tasks.append(asyncio.create_task(self._keep_looking()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.ledger.close()
        broken = [one for one in ended if isinstance(one, Exception)]
        if broken:
            raise broken[0]

    def contents(self, tenant: str) -> dict[str, dict[str, list[Mapping[str, object]]]]:
        """Per topic and reference the different messages that were sent for the tenant."""
        found: dict[str, dict[str, list[Mapping[str, object]]]] = {topic: defaultdict(list) for topic in OUTBOUND}
        for values in self.sent.values():
            for value in values:
                message = json.loads(value)
                if message["tenant"] == tenant:
                    kind = "clients" if "client_reference" in message else "portfolios"
                    found[f"outbound.{kind}"][message[f"{kind[:-1]}_reference"]].append(message)
        return found

    async def unstored(self) -> set[Chunk]:
        """Chunks that were sent, were not committed when they were looked at last, and are not in the ledger."""
        sent = {chunk for partition, known in self._chunks.items() for chunk in known[self._verified[partition] :] if chunk}
        return sent - await self.ledger.stored(sent)

    async def forget_tenants(self, tenants: Collection[str]) -> None:
        """What becomes of these tenants' deliveries matters no more."""
        rows = await self.ledger.fetch("SELECT delivery_id FROM delivery WHERE tenant = ANY($1)", list(tenants))
        self._forgotten.update(row[0] for row in rows)
        for tenant in tenants:
            self.sets.pop(tenant, None)

    def forget_delivery(self, delivery_id: int) -> None:
        """Of this delivery nothing is expected in the ledger: somebody sent chunks of it that should never have been sent."""
        self._forgotten.add(delivery_id)

    def forget_chunk_messages(self, ends: Mapping[int, int]) -> None:
        """Somebody deleted what was on the topic up to these offsets, by partition: a worker begins behind it."""
        for partition, end in ends.items():
            self._verified[partition] = max(self._verified[partition], end)

    @contextmanager
    def letting_commits_fall(self) -> Iterator[None]:
        """Inside the block somebody sets the group back on purpose; looks that overlap with it say nothing of commits."""
        self._resets += 1
        try:
            yield
        finally:
            self._resets += 1
            self._committed.clear()

    async def _follow(self, topic: str, take: Taker) -> None:
        # Without a group: every partition is ours.
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._broker, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async for record in consumer:
                take(record)
        finally:
            await consumer.stop()

    def _take_event(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        # Among them may be what is no event at all.
        self.announced.update(key.decode() for key in _OBJECT_KEY.findall(record.value or b""))

    def _take_chunk(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        known = self._chunks[record.partition]
        if record.offset != len(known):
            self.violations.other.add(f"chunks-{record.partition} has a gap before offset {record.offset}")
        found = _CHUNK_KEY.fullmatch(record.key or b"")
        known.append((int(found[1]), int(found[2])) if found else None)

    def _take_outbound(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        assert record.value is not None
        self.received.append((record.topic, record.key or b"", record.value))
        message = json.loads(record.value)
        contents = self.sent[message["message_id"]]
        contents[record.value] += 1
        if len(contents) > 1:
            self.violations.doubled.add(f"message {message['message_id']} with two contents")
        tenant, moment = message["tenant"], datetime.fromtimestamp(record.timestamp / 1000, UTC)
        self.sent_at[tenant] = min(moment, self.sent_at.get(tenant, moment))

    async def _keep_looking(self) -> None:
        while True:
            # While a service is down there is nothing to see; what happens meanwhile is seen afterwards.
            with suppress(KafkaError, *GONE):
                await self._look_at_commits()
                await self._look_at_readiness()
                self.looks += 1
            await asyncio.sleep(LOOK_S)

    async def _look_at_commits(self) -> None:
        # The commit first, the ledger afterwards: what is committed by then must be there already.
        resets = self._resets
        committed = await self.commits()
        if resets % 2 or resets != self._resets:
            return
        for place, offset in committed.items():
            if offset < self._committed.get(place, 0):
                self.violations.lost.add(f"commit of {place.topic}-{place.partition} fell to {offset}")
            self._committed[place] = offset
        for place, offset in committed.items():
            if place.topic == "chunks":
                await self._verify(place.partition, offset)

    async def commits(self) -> dict[TopicPartition, int]:
        """The group's committed offsets."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._broker, request_timeout_ms=5_000)
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(GROUP)
        finally:
            await admin.close()
        return {place: one.offset for place, one in offsets.items() if one.offset >= 0}

    async def behind(self) -> dict[TopicPartition, tuple[int, int]]:
        """Where the group has messages left to handle: what is committed, and the end."""
        commits = await self.commits()
        counts = {topic: load_topics()[topic].partitions for topic in CONSUMED}
        consumer = AIOKafkaConsumer(bootstrap_servers=self._broker)
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(topic, one) for topic in CONSUMED for one in range(counts[topic])])
        finally:
            await consumer.stop()
        return {place: (commits.get(place, 0), end) for place, end in ends.items() if end > commits.get(place, 0)}

    async def _verify(self, partition: int, committed: int) -> None:
        start, known = self._verified[partition], self._chunks[partition]
        end = min(committed, len(known))
        if end <= start:
            return
        stored = await self.ledger.stored(filter(None, known[start:end]))
        missing = [offset for offset in range(start, end) if known[offset] not in stored and self._matters(known[offset])]
        dead = await self.ledger.dead_letters("chunks", partition) if missing else set()
        # Of a chunk that ended three workers one copy is dead-lettered, and the others are passed.
        given_up = await self.ledger.given_up() if missing else set()
        for offset in missing:
            if offset not in dead and known[offset] not in given_up:
                chunk = known[offset]
                self.violations.lost.add(f"chunks-{partition} offset {offset} (chunk {chunk}) committed and not in the ledger")
        self._verified[partition] = end

    def _matters(self, chunk: Chunk | None) -> bool:
        return chunk is None or chunk[0] not in self._forgotten

    async def _look_at_readiness(self) -> None:
        for row in await self.ledger.readiness_since(self._readiness_from):
            self._readiness_from = max(self._readiness_from, row["decided_at"])
            files = self.sets.get(row["tenant"])
            if files and row["stored_count"] != files.row_count:
                found = f"{row['stored_count']} of {files.row_count} records stored"
                self.violations.early.add(f"{row['tenant']} {row['rule']} ready with {found}")
