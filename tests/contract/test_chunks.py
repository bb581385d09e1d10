"""What the ledger of chunks promises: all of a chunk or nothing, once, in memory and in PostgreSQL."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from dataharvest.adapters.postgres.connection import translated
from dataharvest.deliveries import ChunkOutcome, Lease
from dataharvest.errors import Rejected, Unavailable
from dataharvest.ports import Position
from tests.contract.ledgers import ACCOUNTS, CLIENTS, POSITION, Chunk, Ledger, chunks_of, other_bytes, sealing_of

BAD_ACCOUNT = b"3,0014,NaN,EUR,0\n"


async def persist(ledger: Ledger, chunk: Chunk) -> ChunkOutcome:
    return await ledger.chunks.persist(*chunk, position=POSITION)


async def only_chunk(ledger: Ledger, content: bytes = ACCOUNTS) -> tuple[Lease, Chunk]:
    """A delivery under way and its content as one chunk."""
    lease = await ledger.lease("acme")
    [chunk] = chunks_of(lease, content, chunk_bytes=10_000)
    return lease, chunk


async def fetch(ledger: Ledger, query: str, *arguments: object) -> list[tuple[object, ...]]:
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]


async def test_a_chunk_is_stored_and_then_seen(ledger: Ledger) -> None:
    lease, chunk = await only_chunk(ledger)
    assert await persist(ledger, chunk) is ChunkOutcome.STORED
    assert await persist(ledger, chunk) is ChunkOutcome.SEEN
    assert await ledger.deliveries.stored_chunks(lease.delivery_id) == {0: bytes.fromhex(chunk[0].sha256)}


async def test_other_bytes_under_the_same_index_are_a_conflict(ledger: Ledger) -> None:
    lease, (metadata, checked) = await only_chunk(ledger)
    assert await persist(ledger, (metadata, checked)) is ChunkOutcome.STORED
    assert await persist(ledger, (other_bytes(metadata), checked)) is ChunkOutcome.CONFLICT
    assert await ledger.deliveries.stored_chunks(lease.delivery_id) == {0: bytes.fromhex(metadata.sha256)}


async def test_a_chunk_of_a_delivery_nobody_knows_is_not_accepted(ledger: Ledger) -> None:
    _, (metadata, checked) = await only_chunk(ledger)
    stranger = metadata.model_copy(update={"delivery_id": 4711})
    assert await persist(ledger, (stranger, checked)) is ChunkOutcome.NOT_ACCEPTED


async def test_a_late_chunk_of_a_delivery_that_ended_is_not_accepted(ledger: Ledger) -> None:
    lease, chunk = await only_chunk(ledger)
    await ledger.deliveries.reject(lease.delivery_id, Rejected("no", rule="not_text"))
    assert await persist(ledger, chunk) is ChunkOutcome.NOT_ACCEPTED
    assert await ledger.deliveries.stored_chunk_count(lease.delivery_id) == 0


async def test_a_sealed_delivery_still_takes_its_chunks(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    await ledger.store(lease, ACCOUNTS)


async def test_a_chunk_of_a_complete_delivery_is_seen(ledger: Ledger) -> None:
    lease = await ledger.lease("acme")
    chunks = await ledger.store(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    beyond = chunks[0][0].model_copy(update={"index": 99})
    for state in ("judging", "complete"):
        assert await ledger.judgements.begin(lease.delivery_id) == "judging"
        assert state == "judging" or await ledger.judge(lease.delivery_id) == state
        assert await persist(ledger, chunks[0]) is ChunkOutcome.SEEN
        assert await persist(ledger, (beyond, chunks[0][1])) is ChunkOutcome.NOT_ACCEPTED


@pytest.mark.parametrize("workers", [2, 4])
async def test_workers_that_store_the_same_chunk_at_once_store_it_once(ledger: Ledger, workers: int) -> None:
    lease, chunk = await only_chunk(ledger)
    outcomes = await asyncio.gather(*(persist(ledger, chunk) for _ in range(workers)))
    assert sorted(one.name for one in outcomes) == ["SEEN"] * (workers - 1) + ["STORED"]
    assert await ledger.deliveries.stored_chunk_count(lease.delivery_id) == 1
    if ledger.database:
        assert await fetch(ledger, "SELECT count(*) FROM row_accounts WHERE delivery_id = $1", lease.delivery_id) == [(2,)]


async def test_rows_quarantine_and_ledger_are_stored_as_they_were_read(real_ledger: Ledger) -> None:
    lease, (metadata, checked) = await only_chunk(real_ledger, ACCOUNTS + BAD_ACCOUNT)
    await real_ledger.chunks.persist(metadata, checked, position=Position("chunks", 5, 1234))
    rows = await fetch(
        real_ledger,
        "SELECT account_number, cash_balance::text, currency::text, taxes_paid::text FROM row_accounts "
        "WHERE delivery_id = $1 ORDER BY record_id",
        lease.delivery_id,
    )
    assert rows == [("0012", "1500.5000", "EUR", "10.0000"), ("0013", "20.0000", "EUR", "1.2500")]
    query = "SELECT line, byte_offset, byte_length, column_name, rule, raw, state FROM quarantine WHERE delivery_id = $1"
    [(line, offset, length, column, rule, raw, state)] = await fetch(real_ledger, query, lease.delivery_id)
    assert (line, offset, column, rule, state) == (4, len(ACCOUNTS), "cash_balance", "money", "open")
    assert (raw, length) == (BAD_ACCOUNT.rstrip(), len(BAD_ACCOUNT) - 1)
    columns = (
        "byte_offset, byte_length, first_line, record_count, persisted_count, quarantined_count, topic_partition, topic_offset"
    )
    ledger_row = await fetch(real_ledger, f"SELECT {columns} FROM chunk WHERE delivery_id = $1", lease.delivery_id)
    start = ACCOUNTS.index(b"\n") + 1
    assert ledger_row == [(start, len(ACCOUNTS + BAD_ACCOUNT) - start, 2, 3, 2, 1, 5, 1234)]


async def test_text_with_commas_backslashes_and_empty_cells_is_stored_exactly(real_ledger: Ledger) -> None:
    content = CLIENTS + b'3,"a\\b,""c""",\xc3\x9f,00000000-0000-4000-8000-000000000001,0\n'
    lease = await real_ledger.lease("acme", "clients")
    await real_ledger.store(lease, content)
    query = "SELECT first_name, last_name, client_reference::text FROM row_clients WHERE delivery_id = $1 ORDER BY record_id"
    assert await fetch(real_ledger, query, lease.delivery_id) == [
        ("Frida", "M, the first", "9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f"),
        ("Jon", None, "1b6c2f6e-3d60-4b0b-9c5b-7e1f0a2b3c4d"),
        ('a\\b,"c"', "ß", "00000000-0000-4000-8000-000000000001"),
    ]


async def test_a_copy_that_fails_leaves_nothing(real_ledger: Ledger) -> None:
    lease, (metadata, checked) = await only_chunk(real_ledger, ACCOUNTS + BAD_ACCOUNT)
    broken = replace(checked, copy_text=checked.copy_text + b"3,0014,not money,EUR,0\n")
    with pytest.raises(Rejected) as refused:
        await persist(real_ledger, (metadata, broken))
    assert refused.value.rule == "sqlstate_22P02"
    assert "not money" not in str(refused.value)
    await nothing_is_stored(real_ledger, lease)
    assert await persist(real_ledger, (metadata, checked)) is ChunkOutcome.STORED


async def test_counts_that_do_not_add_up_leave_nothing(real_ledger: Ledger) -> None:
    lease, (metadata, checked) = await only_chunk(real_ledger, ACCOUNTS + BAD_ACCOUNT)
    with pytest.raises(Rejected) as refused:
        await persist(real_ledger, (metadata, replace(checked, record_count=checked.record_count + 1)))
    assert refused.value.rule == "sqlstate_23514"
    await nothing_is_stored(real_ledger, lease)


async def nothing_is_stored(ledger: Ledger, lease: Lease) -> None:
    for table in ("row_accounts", "quarantine", "chunk"):
        assert await fetch(ledger, f"SELECT count(*) FROM {table} WHERE delivery_id = $1", lease.delivery_id) == [(0,)]


async def test_a_stored_chunk_that_comes_again_does_not_wait_for_whoever_has_the_delivery(real_ledger: Ledger) -> None:
    lease, (metadata, checked) = await only_chunk(real_ledger)
    assert await persist(real_ledger, (metadata, checked)) is ChunkOutcome.STORED
    assert real_ledger.database is not None
    async with real_ledger.database.transaction() as judging:
        await judging.execute("SELECT FROM delivery WHERE delivery_id = $1 FOR UPDATE", lease.delivery_id)
        # Less than it waits for a lock; and a lock it had waited for would make it unavailable.
        async with asyncio.timeout(4):
            assert await persist(real_ledger, (metadata, checked)) is ChunkOutcome.SEEN
            assert await persist(real_ledger, (other_bytes(metadata), checked)) is ChunkOutcome.CONFLICT


async def test_a_locked_delivery_makes_persisting_unavailable_not_rejected(real_ledger: Ledger) -> None:
    lease, chunk = await only_chunk(real_ledger)
    assert real_ledger.database is not None
    async with real_ledger.database.transaction() as connection:
        await connection.fetch("SELECT FROM delivery WHERE delivery_id = $1 FOR UPDATE", lease.delivery_id)
        persisting = asyncio.create_task(persist(real_ledger, chunk))
        with pytest.raises(Unavailable) as outage:
            await persisting
    assert outage.value.details["sqlstate"] == "55P03"
    assert await persist(real_ledger, chunk) is ChunkOutcome.STORED


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1/0", Rejected),
        ("SELECT 'x'::numeric", Rejected),
        ("INSERT INTO chunk (delivery_id) VALUES (1)", Rejected),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$", Unavailable),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '53300'; END $$", Unavailable),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '58030'; END $$", Unavailable),
        ("SELECT no_such_column", asyncpg.UndefinedColumnError),
        ("this is not SQL", asyncpg.PostgresSyntaxError),
    ],
)
async def test_the_state_of_an_error_decides_what_it_is(real_ledger: Ledger, statement: str, expected: type[Exception]) -> None:
    assert real_ledger.database is not None
    with pytest.raises(expected) as failed:
        async with real_ledger.database.connection() as connection:
            await connection.execute(statement)
    assert failed.type is expected
    async with real_ledger.database.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_number_that_no_column_holds_is_rejected_and_not_waited_for(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    for number in (2**31, 2**63, 10**30):
        with pytest.raises(Rejected) as refused:
            async with real_ledger.database.connection() as connection:
                await connection.fetch("SELECT $1::integer", number)
        assert refused.value.rule == "sqlstate_22000"
        assert str(number) not in str(refused.value)


@pytest.mark.parametrize("error", [asyncpg.InterfaceError("closed"), ConnectionRefusedError(111), TimeoutError()])
async def test_a_connection_that_is_gone_is_an_outage_with_its_cause(error: Exception) -> None:
    with pytest.raises(Unavailable) as outage:
        async with translated():
            raise error
    assert outage.value.__cause__ is error
