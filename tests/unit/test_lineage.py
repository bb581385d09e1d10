"""From an outbound message back to lines, on a store in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.contracts import Contract
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.lineage import FoundKey, OutboundRecord, SourceDelivery, SourceFile
from dataharvest.objects import ObjectVersion
from dataharvest.outbound import all_outbound
from dataharvest.stages.trace_back import ROWS_REMOVED, SOURCE_REMOVED, TraceBack, entities_read

DAY = date(2026, 11, 23)
REFERENCE = UUID("90751f3a-0c6e-4a3e-9a55-1d2e3f405162")
HEADER = b"record_id,account_number,transaction_reference,amount,keyword\n"
# A quoted line break, a blank line and a bad record: lines are those of the file, whatever is on them.
FIRST_CHUNK = b'1,A1,t1,5,"DEP\nOSIT"\n\n2,A1,t2,5,TAX\n'
SECOND_CHUNK = b"3,A1,t3,much,TAX\n4,A1,t4,5,TAX\n"
CONTENT = HEADER + FIRST_CHUNK + SECOND_CHUNK


def place(index: int, data: bytes, *, content: bytes = CONTENT) -> ChunkPlace:
    start = content.index(data)
    return ChunkPlace(index, start, len(data), 1 + content[:start].count(b"\n"), sha256(data).digest())


@dataclass
class Database:
    """What a database would know of one message and one delivery."""

    source: ObjectVersion
    found: list[FoundKey]
    places: list[ChunkPlace] = field(default_factory=lambda: [place(0, FIRST_CHUNK), place(1, SECOND_CHUNK)])
    is_removed: bool = False

    async def message(self, message_id: UUID) -> OutboundRecord | None:
        payload = '{"sum_of_deposits": "5.00"}'
        return OutboundRecord(message_id, 1, "acme", DAY, "portfolios", REFERENCE, 1, None, False, payload, datetime.now(UTC))

    async def deliveries(self, message: OutboundRecord) -> Sequence[SourceDelivery]:
        subjects = [
            JudgedDelivery(
                delivery_id=number, tenant="acme", business_date=DAY, entity=entity, source=self.source, contract_version=0
            )
            for number, entity in enumerate(("clients", "transactions"), start=1)
        ]
        return [SourceDelivery(subject=one, content_sha256=None, is_removed=self.is_removed) for one in subjects]

    async def keys(self, message: OutboundRecord, delivery: SourceDelivery, *, limit: int) -> tuple[int, list[FoundKey]]:
        return len(self.found), self.found[:limit]

    async def chunks(self, delivery: SourceDelivery) -> Sequence[ChunkPlace]:
        return self.places


class CountingStore(MemoryObjectStore):
    """Remembers where it was read."""

    def __init__(self) -> None:
        super().__init__(versioned=True)
        self.starts: list[int] = []

    def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = 1 << 20):  # type: ignore[no-untyped-def]
        self.starts.append(start)
        return super().read(version, start=start, part_bytes=part_bytes)


async def stored(content: bytes = CONTENT) -> tuple[CountingStore, ObjectVersion]:
    store = CountingStore()
    await store.put("uploads", "acme/transactions_20261123.csv", content)
    source = await store.head("uploads", "acme/transactions_20261123.csv")
    assert source is not None
    return store, source


async def traced(store: CountingStore, database: Database, *, contract: Contract | None = None, limit: int = 20) -> SourceFile:
    contracts = MemoryContracts()

    async def contract_of(tenant: str, number: int) -> Contract:
        return contract or (await contracts.version(tenant, number))

    lineage = await TraceBack(database, store, contract_of).lineage(uuid4(), limit=limit)
    assert lineage is not None
    # The message per portfolio is not made from clients.
    [file] = lineage.files
    assert file.entity == "transactions"
    return file


def test_a_message_comes_from_what_it_and_its_values_read() -> None:
    read = {name: entities_read(one) for name, one in all_outbound().items()}

    assert read == {
        "outbound.clients": {"clients", "portfolios", "accounts"},
        "outbound.portfolios": {"portfolios", "accounts", "transactions"},
    }


async def test_lines_are_found_in_the_chunks_that_matter_and_nowhere_else() -> None:
    store, source = await stored()

    file = await traced(store, Database(source, [FoundKey("t4", (1,))]))

    assert [(one.natural_key, one.line, one.byte_offset) for one in file.records] == [("t4", 7, CONTENT.index(b"4,A1"))]
    assert file.note is None
    # Once from the start, for the header.
    assert store.starts == [0, CONTENT.index(SECOND_CHUNK)]


async def test_a_row_whose_chunk_is_not_known_is_looked_for_everywhere() -> None:
    store, source = await stored()

    file = await traced(store, Database(source, [FoundKey("t4", ()), FoundKey("t1", (1,)), FoundKey("t2", (0,))]))

    assert [(one.natural_key, one.line) for one in file.records] == [("t1", 2), ("t2", 5), ("t4", 7)]


@pytest.mark.parametrize(("rule", "line"), [("first_wins", 2), ("last_wins", 4)])
async def test_of_records_with_one_key_it_is_the_one_that_the_contract_kept(rule: str, line: int) -> None:
    chunks = [b"1,A1,t1,5,TAX\n2,A1,t2,5,TAX\n", b"3,A1,t1,6,TAX\n"]
    content = HEADER + b"".join(chunks)
    store, source = await stored(content)
    places = [place(index, data, content=content) for index, data in enumerate(chunks)]

    contract = Contract.model_validate({"duplicates": rule})
    file = await traced(store, Database(source, [FoundKey("t1", ())], places), contract=contract)

    assert [one.line for one in file.records] == [line]


async def test_no_more_records_are_shown_than_asked_for_and_all_are_counted() -> None:
    store, source = await stored()

    file = await traced(store, Database(source, [FoundKey("t1", (0,)), FoundKey("t2", (0,))]), limit=1)

    assert (file.record_count, [one.natural_key for one in file.records]) == (2, ["t1"])


async def test_an_object_that_was_replaced_is_said_to_be_gone() -> None:
    store, source = await stored()
    places = [ChunkPlace(0, len(HEADER), len(FIRST_CHUNK), 2, sha256(b"other").digest())]

    file = await traced(store, Database(source, [FoundKey("t1", (0,))], places))

    assert (file.note, [(one.natural_key, one.line) for one in file.records]) == (SOURCE_REMOVED, [("t1", None)])
    assert (file.file, file.version_id) == (source.key, source.version_id)


async def test_rows_that_a_newer_file_has_replaced_are_found_by_their_keys() -> None:
    store, source = await stored()

    file = await traced(store, Database(source, [FoundKey("t2", ())], is_removed=True))

    assert (file.note, [one.line for one in file.records]) == (ROWS_REMOVED, [5])
