"""What is dead-lettered waits for a replay: nothing sends it again by itself, and the status says so."""

from types import SimpleNamespace

import pytest

from dataharvest.adapters.kafka import KafkaDeadLetters
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_kafka import MemoryDeadLetters, MemorySender
from dataharvest.adapters.memory_sweeping import MemorySweepState
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.deliveries import Lease, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import ChunkMetadata, Judgement, RuleReady, encode_chunk
from dataharvest.ports import DeadLetters, Position
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.status import SetStatus
from dataharvest.sweeping import SweepState
from tests.contract.ledgers import ACCOUNTS, DAY, POSITION, Ledger, chunks_of, sealing_of
from tests.contract.test_sweeping import make_old

KEY = SetKey("acme", DAY)


@pytest.fixture
def dead_letters(ledger: Ledger) -> DeadLetters:
    if ledger.database:
        return KafkaDeadLetters(MemorySender(), ledger.database)
    assert ledger.rows is not None
    return MemoryDeadLetters(ledger.rows)


@pytest.fixture
def state(ledger: Ledger) -> SweepState:
    if ledger.database:
        return PostgresSweepState(ledger.database)
    assert ledger.rows is not None and isinstance(ledger.deliveries, MemoryDeliveries)
    return MemorySweepState(ledger.rows, ledger.deliveries.lease_of)


async def keep(dead_letters: DeadLetters, topic: str, value: bytes, *, rule: str = "crashed_worker", offset: int = 0) -> None:
    message = SimpleNamespace(key=b"key", value=value, headers=[])
    await dead_letters.keep(Position(topic, 0, offset), message=message, stage="stage", reason=Rejected("no", rule=rule))


async def sealed_but_one(ledger: Ledger) -> tuple[Lease, ChunkMetadata]:
    """A sealed delivery of which every chunk but the last is stored; and that one."""
    lease = await ledger.lease("acme")
    [*others, (last, _)] = chunks_of(lease, ACCOUNTS)
    for metadata, checked in others:
        await ledger.chunks.persist(metadata, checked, position=POSITION)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    await ledger.deliveries.mark_announced(lease.delivery_id)
    return lease, last


async def test_a_chunk_that_was_dead_lettered_is_neither_a_gap_nor_to_be_sent(
    ledger: Ledger, dead_letters: DeadLetters, state: SweepState
) -> None:
    lease, last = await sealed_but_one(ledger)
    await make_old(ledger)
    assert [gap.lease for gap in await state.gaps()] == [lease]
    await keep(dead_letters, "chunks", encode_chunk(last, b"any"))
    assert await state.gaps() == []
    settled = await ledger.deliveries.stored_chunks(lease.delivery_id)
    assert settled[last.index].hex() == last.sha256
    assert len(settled) == len(chunks_of(lease, ACCOUNTS))


async def test_a_chunk_whose_message_was_damaged_is_read_again(
    ledger: Ledger, dead_letters: DeadLetters, state: SweepState
) -> None:
    lease, last = await sealed_but_one(ledger)
    await keep(dead_letters, "chunks", encode_chunk(last, b"any"), rule="chunk_damaged")
    await make_old(ledger)
    assert [gap.lease for gap in await state.gaps()] == [lease]
    assert last.index not in await ledger.deliveries.stored_chunks(lease.delivery_id)


async def test_a_dead_lettered_chunk_that_was_replayed_is_stored_like_any_other(
    ledger: Ledger, dead_letters: DeadLetters, state: SweepState
) -> None:
    lease, last = await sealed_but_one(ledger)
    await keep(dead_letters, "chunks", encode_chunk(last, b"any"))
    checked = dict(chunks_of(lease, ACCOUNTS)[-1:])[last]
    await ledger.chunks.persist(last, checked, position=POSITION)
    await make_old(ledger)
    assert [one.delivery_id for one in await state.untold_deliveries()] == [lease.delivery_id]
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"


async def judging(ledger: Ledger) -> Judgement:
    """The message of a delivery that is to be judged."""
    lease = await ledger.lease("acme")
    await ledger.store(lease, ACCOUNTS)
    assert await ledger.deliveries.seal(lease, sealing_of(ACCOUNTS, lease=lease))
    assert await ledger.judgements.begin(lease.delivery_id) == "judging"
    [message] = await ledger.judgements.unsent(KEY)
    return message


async def test_a_judgement_that_was_dead_lettered_is_neither_unsent_nor_overdue(
    ledger: Ledger, dead_letters: DeadLetters
) -> None:
    message = await judging(ledger)
    assert await ledger.judgements.overdue(age_s=0) == [message]
    await keep(dead_letters, "work", message.encode())
    assert (await ledger.judgements.unsent(KEY), await ledger.judgements.overdue(age_s=0)) == ([], [])


async def status_of(ledger: Ledger) -> SetStatus:
    assert ledger.database is not None
    status = PostgresStatus(ledger.database, required=("accounts",), rules=all_rules().values())
    [found] = (await status.report(tenant="acme")).sets
    return found


async def reason_of(ledger: Ledger) -> str:
    return (await status_of(ledger)).reason


async def command_of(ledger: Ledger) -> str:
    found = (await status_of(ledger)).why
    assert found is not None
    return found.command


async def test_the_status_names_the_batch_that_waits_for_a_replay(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP)
    await real_ledger.work.plan(ready, batch_count=1)
    [batch] = await real_ledger.work.unsent(ready)
    await real_ledger.work.mark_sent(batch, Position("work", 0, 7))
    before = await reason_of(real_ledger)
    dead_letters = KafkaDeadLetters(MemorySender(), real_ledger.database)
    await keep(dead_letters, "work", batch.encode(), offset=6)
    assert await reason_of(real_ledger) == before
    await keep(dead_letters, "work", batch.encode(), offset=7)
    for state, discarded in (("open", ""), ("discarded", " and discarded")):
        lost = f"1 batch of relationship was dead-lettered (crashed_worker){discarded}, nothing but a replay sends that again"
        await settle_all(real_ledger, state)
        assert await reason_of(real_ledger) == f"{before.rstrip('.')}; {lost}."
        assert await command_of(real_ledger) == "dataharvest dead-letters replay work:0:7"
    await settle_all(real_ledger, "replayed")
    assert await reason_of(real_ledger) == before


async def settle_all(ledger: Ledger, state: str) -> None:
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        await connection.execute("UPDATE dead_letter SET state = $1", state)


async def test_of_lost_batches_the_command_names_those_that_nobody_has_discarded(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    await real_ledger.version("acme")
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule=RELATIONSHIP)
    await real_ledger.work.plan(ready, batch_count=23)
    dead_letters = KafkaDeadLetters(MemorySender(), real_ledger.database)
    for offset, batch in enumerate(await real_ledger.work.unsent(ready)):
        await real_ledger.work.mark_sent(batch, Position("work", 0, offset))
        await keep(dead_letters, "work", batch.encode(), offset=offset)
    async with real_ledger.database.connection() as connection:
        await connection.execute("UPDATE dead_letter SET state = 'discarded' WHERE topic_offset < 21")
    assert await command_of(real_ledger) == "dataharvest dead-letters replay work:0:21 work:0:22"
    await settle_all(real_ledger, "discarded")
    assert (await command_of(real_ledger)).split()[3:] == [f"work:0:{offset}" for offset in range(20)]


async def test_the_status_names_the_chunk_that_waits_for_a_replay(real_ledger: Ledger) -> None:
    assert real_ledger.database is not None
    dead_letters = KafkaDeadLetters(MemorySender(), real_ledger.database)
    lease, last = await sealed_but_one(real_ledger)
    assert await reason_of(real_ledger) == "accounts: 1 of 2 chunks stored."
    for offset in range(2):
        await keep(dead_letters, "chunks", encode_chunk(last, b"any"), offset=offset)
    waits = "was dead-lettered (crashed_worker) and waits to be replayed, nothing sends it again by itself"
    assert await reason_of(real_ledger) == f"accounts: chunk 1 {waits}."
    assert await command_of(real_ledger) == "dataharvest dead-letters replay chunks:0:0"
    await settle_all(real_ledger, "discarded")
    discarded = "was dead-lettered (crashed_worker) and discarded, only a corrected file or a replay by its name brings it"
    assert await reason_of(real_ledger) == f"accounts: chunk 1 {discarded}."
    await real_ledger.chunks.persist(*chunks_of(lease, ACCOUNTS)[-1], position=POSITION)
    assert await reason_of(real_ledger) == "accounts: 2 of 2 chunks stored."
    await real_ledger.judgements.begin(lease.delivery_id)
    [message] = await real_ledger.judgements.unsent(KEY)
    await keep(dead_letters, "work", message.encode())
    assert await reason_of(real_ledger) == f"accounts: its judgement {waits}."
