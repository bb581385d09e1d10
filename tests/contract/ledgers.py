"""The ports of one ledger, in memory or in PostgreSQL, and the steps that bring it to where a test begins."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import count

from dataharvest.adapters.memory_chunks import MemoryChunks
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_judgement import MemoryJudgements, MemoryRemovals
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_manifests import MemoryManifests
from dataharvest.adapters.memory_notifications import MemoryNotifications, MemoryWebhookCalls
from dataharvest.adapters.memory_quarantine import MemoryQuarantine
from dataharvest.adapters.memory_sets import MemorySets
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_work import MemoryWork
from dataharvest.adapters.postgres.chunks import PostgresChunks
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.adapters.postgres.manifests import PostgresManifests
from dataharvest.adapters.postgres.notifications import PostgresNotifications, PostgresWebhookCalls
from dataharvest.adapters.postgres.quarantine import PostgresQuarantine
from dataharvest.adapters.postgres.removal import PostgresRemovals
from dataharvest.adapters.postgres.sets import PostgresSets
from dataharvest.adapters.postgres.work import PostgresWork
from dataharvest.deliveries import ChunkOutcome, Lease, Sealing, SetKey
from dataharvest.entities import all_entities
from dataharvest.messages import ChunkMetadata
from dataharvest.notifications import Notifications, WebhookCalls
from dataharvest.objects import ObjectVersion
from dataharvest.ports import Chunks, Deliveries, Judgements, Manifests, Position, Quarantine, Removals, Sender, Sets, Work
from dataharvest.rulebook import all_rules
from dataharvest.rules.header import read_header
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.splitting import RecordSplitter
from dataharvest.stages.decide import Decisions
from dataharvest.stages.judge import Judge
from dataharvest.stages.persist import check

DAY = date(2026, 11, 23)
START = datetime(2026, 11, 23, 18, tzinfo=UTC)
CHUNK_BYTES = 24
POSITION = Position("chunks", 3, 17)

ACCOUNTS = b"record_id,account_number,cash_balance,currency,taxes_paid\n1,0012,1500.5,EUR,10\n2,0013,20,EUR,1.25\n"
CLIENTS = (
    b"record_id,first_name,last_name,client_reference,tax_free_allowance\n"
    b'1,Frida,"M, the first",9E40659B-5b0a-4d28-8f3e-0a1b2c3d4e5f,801\n'
    b"2,Jon,,1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d,5\n"
)
PORTFOLIOS = (
    b"record_id,account_number,portfolio_reference,client_reference,agent_code\n"
    b"1,0012,90751f3a-0c6e-4a3e-9a55-1d2e3f405162,9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f,EREZBT\n"
    b"2,0013,a1b2c3d4-1111-4aaa-8bbb-0123456789ab,1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d,\n"
    b"3,0013,a1b2c3d4-2222-4aaa-8bbb-0123456789ab,1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d,\n"
)
TRANSACTIONS = (
    b"record_id,account_number,transaction_reference,amount,keyword\n"
    b"1,0012,t1,5000,DEPOSIT\n2,0012,t2,-1.0050,TAX\n3,0013,t3,0.0001,DEPOSIT\n"
)
FILES: Mapping[str, bytes] = {"accounts": ACCOUNTS, "clients": CLIENTS, "portfolios": PORTFOLIOS, "transactions": TRANSACTIONS}

_numbers = count(1)

Chunk = tuple[ChunkMetadata, CheckedChunk]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ports, and a second splitter's view of the same deliveries."""

    deliveries: Deliveries
    hasty_deliveries: Deliveries
    """Leases that lapse at once."""
    chunks: Chunks
    judgements: Judgements
    removals: Removals
    contracts: MemoryContracts | PostgresContracts
    sets: Sets
    work: Work
    manifests: Manifests
    notifications: Notifications
    webhook_calls: WebhookCalls
    quarantine: Quarantine
    database: Database | None = None
    rows: MemoryLedger | None = None
    """What the fakes share."""

    async def register(
        self,
        tenant: str,
        entity: str = "accounts",
        *,
        age_s: float = 0,
        source: ObjectVersion | None = None,
        after: int | None = None,
    ) -> int | None:
        """A delivery of the set of ``DAY``; the smaller ``age_s``, the newer."""
        name = ObjectName(tenant=tenant, business_date=DAY, kind="data", entity=entity, compression=None)
        return await self.deliveries.register(source or source_of(tenant, entity, age_s=age_s), name, after=after)

    async def lease(self, tenant: str, entity: str = "accounts", *, age_s: float = 0) -> Lease:
        """A new delivery's lease; nothing else may be waiting."""
        delivery_id = await self.register(tenant, entity, age_s=age_s)
        lease = await self.deliveries.lease()
        assert lease is not None
        assert lease.delivery_id == delivery_id
        return lease

    async def store(self, lease: Lease, content: bytes) -> list[Chunk]:
        """Every chunk of the content, stored."""
        chunks = chunks_of(lease, content)
        for metadata, checked in chunks:
            assert await self.chunks.persist(metadata, checked, position=POSITION) is ChunkOutcome.STORED
        return chunks

    async def complete(self, tenant: str, entity: str, content: bytes, *, age_s: float = 0) -> int:
        """A complete delivery."""
        lease = await self.lease(tenant, entity, age_s=age_s)
        await self.store(lease, content)
        assert await self.deliveries.seal(lease, sealing_of(content, lease=lease))
        assert await self.judgements.begin(lease.delivery_id) == "judging"
        assert await self.judge(lease.delivery_id) == "complete"
        return lease.delivery_id

    async def judge(self, delivery_id: int) -> str:
        """Judge a delivery without duplicates; its state afterwards."""
        async with self.judgements.open(delivery_id) as judgement:
            assert judgement is not None
            assert await judgement.count_next()
            assert not await judgement.weigh()
            return await judgement.complete()

    async def version(self, tenant: str, *, number: int = 1, files: Mapping[str, bytes] = FILES) -> dict[str, int]:
        """A set version made of newly completed deliveries."""
        made = {entity: await self.complete(tenant, entity, content) for entity, content in files.items()}
        async with self.sets.locked(SetKey(tenant, DAY)) as locked:
            await locked.create_version(number, made, waived=FILES.keys() - made.keys())
        return made

    async def state_of(self, delivery_id: int) -> str:
        """The state of a delivery that is not sealed, or is."""
        return await self.judgements.begin(delivery_id)


def decisions_of(ledger: Ledger, sender: Sender | None = None) -> Decisions:
    """The stage that decides, without waiting for corrections."""
    return Decisions(sets=ledger.sets, removals=ledger.removals, sender=sender or MemorySender(), rules=all_rules(), settle_s=0)


def judge_of(ledger: Ledger, sender: Sender) -> Judge:
    """The stage that judges, for what needs no object read again."""
    return Judge(ledger.judgements, ledger.deliveries, MemoryObjectStore(versioned=True), sender)


def source_of(tenant: str, entity: str, *, age_s: float = 0) -> ObjectVersion:
    """An object that nobody else has."""
    number = next(_numbers)
    return ObjectVersion(
        bucket="contract",
        key=f"{tenant}/{entity}_20261123.csv",
        version_id=f"v{number}",
        etag=f'"{number}"',
        last_modified=START - timedelta(seconds=age_s),
        size_bytes=100,
    )


def chunks_of(lease: Lease, content: bytes, *, chunk_bytes: int | None = None) -> list[Chunk]:
    """The chunks of a content with their checked records, as splitting and persisting would have them."""
    return [(metadata, check(metadata, data)) for metadata, data in _cut(lease, content, chunk_bytes or CHUNK_BYTES)]


def _cut(lease: Lease, content: bytes, chunk_bytes: int) -> Iterator[tuple[ChunkMetadata, bytes]]:
    header = read_header(content, entity=all_entities()[lease.entity], at_end=True)
    assert header is not None
    splitter = RecordSplitter(chunk_bytes=chunk_bytes, byte_offset=header.byte_length, first_line=header.line_count + 1)
    for piece in (*splitter.feed(content[header.byte_length :]), *splitter.finish()):
        metadata = ChunkMetadata(
            tenant=lease.tenant,
            business_date=lease.business_date,
            delivery_id=lease.delivery_id,
            entity=lease.entity,
            index=piece.index,
            byte_offset=piece.byte_offset,
            byte_length=piece.byte_length,
            first_line=piece.first_line,
            sha256=sha256(piece.data).hexdigest(),
            columns=header.columns,
            header=header.raw,
        )
        yield metadata, piece.data


def sealing_of(content: bytes, *, lease: Lease) -> Sealing:
    """What a splitter knows of the content at its end."""
    chunks = chunks_of(lease, content)
    return Sealing(
        content_sha256=sha256(content).digest(),
        content_start=chunks[0][0].byte_offset if chunks else len(content),
        content_end=len(content),
        chunk_count=len(chunks),
        ignored_columns=(),
    )


def other_bytes(metadata: ChunkMetadata) -> ChunkMetadata:
    """The same chunk with another hash."""
    return metadata.model_copy(update={"sha256": sha256(b"other").hexdigest()})


def stale(lease: Lease) -> Lease:
    """The lease as a splitter that lost it still has it."""
    return replace(lease, epoch=lease.epoch - 1)


def memory_ledger() -> Ledger:
    """A ledger in memory."""
    shared, contracts = MemoryLedger(), MemoryContracts()
    return Ledger(
        deliveries=MemoryDeliveries(shared, chunk_bytes=CHUNK_BYTES, lease_s=30),
        hasty_deliveries=MemoryDeliveries(shared, chunk_bytes=CHUNK_BYTES, lease_s=0.001, owner="hasty"),
        chunks=MemoryChunks(shared),
        judgements=MemoryJudgements(shared),
        removals=MemoryRemovals(shared),
        contracts=contracts,
        sets=MemorySets(shared, contracts=contracts),
        work=MemoryWork(shared),
        manifests=MemoryManifests(shared),
        notifications=MemoryNotifications(shared),
        webhook_calls=MemoryWebhookCalls(),
        quarantine=MemoryQuarantine(shared),
        rows=shared,
    )


@asynccontextmanager
async def postgres_ledger(url: str) -> AsyncIterator[Ledger]:
    """A ledger in a PostgreSQL database that belongs to the test alone; empty at first."""
    database = Database(url, pool_size=6, application_name="contract")
    await _empty(database)
    contracts = PostgresContracts(database)
    yield Ledger(
        deliveries=PostgresDeliveries(database, owner="one", chunk_bytes=CHUNK_BYTES, lease_s=30),
        hasty_deliveries=PostgresDeliveries(database, owner="hasty", chunk_bytes=CHUNK_BYTES, lease_s=0.001),
        chunks=PostgresChunks(database),
        judgements=PostgresJudgements(database),
        removals=PostgresRemovals(database),
        contracts=contracts,
        sets=PostgresSets(database, contracts=contracts),
        work=PostgresWork(database),
        manifests=PostgresManifests(database),
        notifications=PostgresNotifications(database),
        webhook_calls=PostgresWebhookCalls(database),
        quarantine=PostgresQuarantine(database),
        database=database,
    )
    await database.close()


async def _empty(database: Database) -> None:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT format('%I', table_name) AS name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'"
        )
        await connection.execute(f"TRUNCATE {', '.join(row['name'] for row in rows)} CASCADE")


async def someone_waits(database: Database) -> None:
    """Until a session waits for a lock."""
    query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    async with asyncio.timeout(5), database.connection() as connection:
        while not await connection.fetchval(query):
            await asyncio.sleep(0.01)
