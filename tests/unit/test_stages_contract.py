"""A delivery is read under the contract version it was registered with: its key, its header, its bytes, its amounts."""

from datetime import date

import orjson
import pytest

from dataharvest.adapters.memory_chunks import MemoryChunks
from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_judgement import MemoryJudgements
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.adapters.memory_manifests import MemoryManifests
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.memory_tenants import MemoryTenants
from dataharvest.contracts import Contract
from dataharvest.deliveries import Lease
from dataharvest.errors import Rejected
from dataharvest.messages import decode_chunk
from dataharvest.ports import Position
from dataharvest.rules.record_rules import RecordRule
from dataharvest.stages.persist import check
from dataharvest.stages.register import register
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.split import Splitter
from dataharvest.stages.window import Limits

BUCKET = "uploads"
GERMAN = Contract(
    delimiter=";",
    decimal_mark=",",
    encoding="windows-1252",
    date_in_key="DD.MM.YYYY",
    header_aliases={"accounts": {"Kontonummer": "account_number", "Währung": "currency"}},
)
KEY = "nord/accounts_23.11.2026.csv"
TEXT = "record_id;Kontonummer;cash_balance;WÄHRUNG;taxes_paid\r\n1;Ä1;1500,5;EUR;0\r\n2;Ä2;€;EUR;0\r\n"


class Site:
    """A bucket, a ledger, contracts and a splitter, in memory."""

    def __init__(self) -> None:
        self.objects = MemoryObjectStore(versioned=True)
        self.ledger = MemoryLedger()
        self.contracts = MemoryContracts()
        self.deliveries = MemoryDeliveries(self.ledger, chunk_bytes=20, lease_s=30)
        self.sender = MemorySender()
        self.splitter = Splitter(
            objects=self.objects,
            deliveries=self.deliveries,
            contracts=self.contracts,
            sender=self.sender,
            tenants=MemoryTenants(self.ledger),
            limits=Limits(chunk_count=1000),
            max_content_bytes=1 << 20,
            lease_s=30,
        )

    async def upload(self, content: bytes, *, key: str = KEY) -> StoredDelivery:
        await self.objects.put(BUCKET, key, content)
        hint = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}
        await register(
            orjson.dumps({"Records": [hint]}),
            bucket=BUCKET,
            objects=self.objects,
            deliveries=self.deliveries,
            manifests=ManifestRegister(self.objects, MemoryManifests(self.ledger), self.sender),
            contracts=self.contracts,
        )
        return list(self.ledger.deliveries.values())[-1]

    async def lease(self) -> Lease:
        lease = await self.deliveries.lease()
        assert lease is not None
        return lease

    async def load(self) -> tuple[list[bytes], list[tuple[int, RecordRule]]]:
        """The rows of the next delivery, and line and rule of what is quarantined."""
        lease = await self.lease()
        await self.splitter.split(lease)
        rows, quarantined, chunks = [], [], MemoryChunks(self.ledger)
        for sent in self.sender.sent:
            metadata, data = decode_chunk(sent.value)
            checked = check(metadata, data)
            await chunks.persist(metadata, checked, position=Position("chunks", 0, 0))
            rows += checked.copy_text.splitlines()
            quarantined += [(one.line, one.rule) for one in checked.quarantined]
        assert await MemoryJudgements(self.ledger).begin(lease.delivery_id) == "judging"
        self.sender.sent.clear()
        return rows, quarantined


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.contracts.apply("nord", GERMAN)
    return made


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16"])
async def test_a_file_is_read_as_its_contract_says(encoding: str) -> None:
    site = Site()
    await site.contracts.apply("nord", GERMAN.model_copy(update={"encoding": encoding}))

    row = await site.upload(TEXT.encode(encoding))

    assert (row.state, row.business_date, row.contract_version) == ("registered", date(2026, 11, 23), 1)
    assert await site.load() == (["1,Ä1,1500.5,EUR,0".encode()], [(3, "money")])


async def test_offsets_and_hash_are_those_of_the_text_as_utf8(site: Site) -> None:
    row = await site.upload(TEXT.encode("windows-1252"))
    await site.load()

    plain = TEXT.encode()
    assert row.sealing is not None
    assert (row.sealing.content_start, row.sealing.content_end) == (plain.index(b"\n") + 1, len(plain))


@pytest.mark.parametrize(("applied", "state"), [(GERMAN, "repeat"), (GERMAN.model_copy(update={"decimal_mark": "."}), "sealed")])
async def test_the_same_content_is_a_repeat_unless_it_is_read_under_another_contract(
    site: Site, applied: Contract, state: str
) -> None:
    await site.upload(TEXT.encode("windows-1252"))
    await site.load()
    await site.contracts.apply("nord", applied)

    again = await site.upload(TEXT.encode("windows-1252"))
    await site.splitter.split(await site.lease())

    assert again.state == state


async def test_a_later_contract_does_not_change_how_a_registered_delivery_is_read(site: Site) -> None:
    await site.upload(TEXT.encode("windows-1252"))
    await site.contracts.apply("nord", Contract())

    rows, _ = await site.load()

    assert rows == ["1,Ä1,1500.5,EUR,0".encode()]


async def test_a_tenant_without_a_contract_is_read_under_the_defaults(site: Site) -> None:
    content = b"record_id,account_number,cash_balance,currency,taxes_paid\n1,A,1.5,EUR,0\n"

    row = await site.upload(content, key="sued/accounts_20261123.csv")

    assert row.contract_version == 0
    assert await site.load() == ([b"1,A,1.5,EUR,0"], [])


@pytest.mark.parametrize(
    ("key", "rule"), [("nord/accounts_20261123.csv", "unknown_key_pattern"), ("nord/accounts_31.02.2026.csv", "impossible_date")]
)
async def test_a_key_without_the_contracts_date_is_rejected(site: Site, key: str, rule: str) -> None:
    row = await site.upload(b"x", key=key)

    assert (row.tenant, row.state, row.failure and row.failure["rule"]) == ("nord", "rejected", rule)


@pytest.mark.parametrize(
    ("content", "line"), [(TEXT.encode(), 1), (TEXT.encode("utf-16")[:-3], 3)], ids=["no UTF-16", "ends inside a character"]
)
async def test_content_in_another_encoding_rejects_the_file_with_its_line(content: bytes, line: int) -> None:
    site = Site()
    await site.contracts.apply("nord", GERMAN.model_copy(update={"encoding": "utf-16"}))
    await site.upload(content)

    with pytest.raises(Rejected) as caught:
        await site.splitter.split(await site.lease())

    assert (caught.value.rule, caught.value.details["line"]) == ("encoding", line)


async def test_an_undefined_byte_costs_its_record_alone(site: Site) -> None:
    await site.upload(TEXT.encode("windows-1252").replace(b"\x80", b"\x81"))

    assert await site.load() == (["1,Ä1,1500.5,EUR,0".encode()], [(3, "encoding")])
