"""What can be done about a dead letter, in memory and on the real services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dataharvest.adapters.dead_letters import StoredDeadLetters
from dataharvest.adapters.kafka import KafkaDeadLetters, KafkaSender
from dataharvest.adapters.kafka_log import KafkaLog
from dataharvest.adapters.memory_dead_letters import MemoryDeadLetterBox
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_sweeping import MemorySweepState
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady, encode_chunk
from dataharvest.ports import DeadLetters, Position, Resender
from dataharvest.replaying.dead_letters import DeadLetterBox, LetterChoice, discard_letter, replay_letter
from dataharvest.sweeping import SentBatch, SweepState
from tests.contract.ledgers import DAY, Ledger
from tests.contract.test_dead_letters import sealed_but_one
from tests.contract.test_sender import Poison, new_topic, records_of
from tests.contract.test_sweeping import make_old

REASON = Rejected("can't be read", rule="unreadable_message", line=3)
POISON = Poison(b"k\xff", b"\x00not json", [("trace", b"\xff"), ("empty", None), ("replayed_from", b"uploads:1:1")])


@dataclass(frozen=True, kw_only=True)
class Office:
    """Where letters are kept and where something is done about them."""

    keeper: DeadLetters
    box: DeadLetterBox
    sender: Resender
    first: Position = Position("some", 1, 7)
    second: Position = Position("other", 0, 8)


@pytest.fixture
def broker(request: pytest.FixtureRequest, ledger_place: str | None) -> str | None:
    return None if ledger_place is None else str(request.getfixturevalue("stack_environment")["DATAHARVEST_BROKER"])


@pytest.fixture
async def office(ledger: Ledger, broker: str | None) -> AsyncIterator[Office]:
    if broker is None or ledger.database is None:
        memory = MemoryDeadLetterBox()
        yield Office(keeper=memory, box=memory, sender=MemorySender())
        return
    async with real_office(ledger, broker) as real:
        yield real


@asynccontextmanager
async def real_office(ledger: Ledger, broker: str) -> AsyncIterator[Office]:
    assert ledger.database is not None
    sender = KafkaSender(broker)
    keeper, box = KafkaDeadLetters(sender, ledger.database), StoredDeadLetters(ledger.database, KafkaLog(broker))
    # Topics that no worker of another test reads.
    first, second = Position(await new_topic(broker), 1, 7), Position(await new_topic(broker), 0, 8)
    yield Office(keeper=keeper, box=box, sender=sender, first=first, second=second)
    await sender.close()


async def keep(office: Office, position: Position | None = None, *, stage: str = "register", message: Any = POISON) -> None:
    await office.keeper.keep(position or office.first, message=message, stage=stage, reason=REASON)


async def test_a_letter_keeps_the_message_byte_for_byte_and_says_why(office: Office) -> None:
    await keep(office)
    [letter] = await office.box.find(LetterChoice())
    assert (letter.position, letter.stage, letter.rule, letter.reason) == (office.first, "register", REASON.rule, REASON.message)
    assert (letter.state, letter.name) == ("open", f"{office.first.topic}:1:7")
    content = await office.box.content(letter)
    assert (content.key, content.value, list(content.headers)) == (POISON.key, POISON.value, POISON.headers)
    assert content.details == {"line": "3"}


async def test_a_letter_kept_twice_is_one(office: Office) -> None:
    for _ in range(2):
        await keep(office)
    assert len(await office.box.find(LetterChoice())) == 1


async def test_letters_are_found_by_what_is_known_of_them(office: Office) -> None:
    await keep(office)
    await keep(office, office.second, stage="work")
    choices = {
        LetterChoice(): [office.first, office.second],
        LetterChoice(topic=office.second.topic): [office.second],
        LetterChoice(stage="register"): [office.first],
        LetterChoice(rule="unreadable_message", state="open"): [office.first, office.second],
        LetterChoice(rule="other"): [],
        LetterChoice(state="discarded"): [],
        LetterChoice(positions=(office.second, office.second._replace(offset=9))): [office.second],
        LetterChoice(positions=()): [],
    }
    for choice, expected in choices.items():
        assert [one.position for one in await office.box.find(choice)] == expected, choice


async def test_a_replayed_letter_is_sent_once_and_the_history_says_by_whom(office: Office) -> None:
    await keep(office)
    first = await replay_letter(office.first, box=office.box, sender=office.sender, by="anna")
    again = await replay_letter(office.first, box=office.box, sender=office.sender, by="ben")
    assert (first.done, again.done) == (True, False)
    assert "replayed on" in again.sentence
    assert "by anna" in again.sentence
    [action] = await office.box.history(office.first)
    assert (action.action, action.by_whom, action.position) == ("replayed", "anna", office.first)
    assert action.sent_to is not None
    assert action.sent_to.topic == office.first.topic
    assert [one.state for one in await office.box.find(LetterChoice())] == ["replayed"]


async def test_two_people_who_replay_one_letter_send_it_once(office: Office) -> None:
    await keep(office)
    outcomes = await asyncio.gather(
        *(replay_letter(office.first, box=office.box, sender=office.sender, by=name) for name in ("anna", "ben"))
    )
    assert sorted(one.done for one in outcomes) == [False, True]
    assert len(await office.box.history()) == 1


async def test_a_discarded_letter_keeps_its_reason_and_is_not_sent(office: Office) -> None:
    await keep(office)
    done = await discard_letter(office.first, box=office.box, by="anna", reason="test data")
    late = await replay_letter(office.first, box=office.box, sender=office.sender, by="ben")
    assert (done.done, late.done) == (True, False)
    assert "discarded on" in late.sentence
    assert "by anna: test data" in late.sentence
    [action] = await office.box.history()
    assert (action.action, action.reason, action.sent_to) == ("discarded", "test data", None)


async def test_a_discarded_letter_that_is_named_is_sent_again_and_the_history_keeps_both(office: Office) -> None:
    await keep(office)
    await discard_letter(office.first, box=office.box, by="anna", reason="test data")
    outcomes = [
        await replay_letter(office.first, box=office.box, sender=office.sender, by="ben", states=("open", "discarded"))
        for _ in range(2)
    ]
    assert [one.done for one in outcomes] == [True, False]
    assert [(one.action, one.by_whom) for one in await office.box.history(office.first)] == [
        ("discarded", "anna"),
        ("replayed", "ben"),
    ]
    assert [one.state for one in await office.box.find(LetterChoice())] == ["replayed"]


async def test_a_letter_that_nobody_kept_is_unknown(office: Office) -> None:
    with pytest.raises(Rejected) as refused:
        await replay_letter(office.first, box=office.box, sender=office.sender, by="anna")
    assert refused.value.rule == "unknown_letter"


@pytest.fixture
async def real(real_ledger: Ledger, stack_environment: dict[str, str]) -> AsyncIterator[Office]:
    async with real_office(real_ledger, stack_environment["DATAHARVEST_BROKER"]) as office:
        yield office


async def test_the_message_that_arrives_is_the_original_with_its_source(real: Office, stack_environment: dict[str, str]) -> None:
    broker = stack_environment["DATAHARVEST_BROKER"]
    position = real.second
    await keep(real, position)
    outcome = await replay_letter(position, box=real.box, sender=real.sender, by="anna")
    [record] = await records_of(broker, position.topic)
    assert (record.key, record.value) == (POISON.key, POISON.value)
    assert record.headers == (("trace", b"\xff"), ("empty", None), ("replayed_from", f"{position.topic}:0:8".encode()))
    assert outcome.sentence.endswith(f"as {position.topic}:0:{record.offset}")


async def execute(ledger: Ledger, statement: str) -> list[Any]:
    assert ledger.database is not None
    async with ledger.database.connection() as connection:
        return list(await connection.fetch(statement))


async def test_a_letter_whose_place_nobody_noted_is_found_all_the_same(real_ledger: Ledger, real: Office) -> None:
    await keep(real)
    await execute(real_ledger, "UPDATE dead_letter SET letter_partition = NULL, letter_offset = NULL")
    [letter] = await real.box.find(LetterChoice())
    assert letter.letter is None
    assert (await real.box.content(letter)).value == POISON.value


async def test_bytes_that_the_topic_has_dropped_are_said_to_be_gone(real_ledger: Ledger, real: Office) -> None:
    await keep(real)
    await execute(real_ledger, "UPDATE dead_letter SET letter_offset = 1000000")
    with pytest.raises(Rejected) as refused:
        await replay_letter(real.first, box=real.box, sender=real.sender, by="anna")
    assert refused.value.rule == "letter_gone"
    assert [one.state for one in await real.box.find(LetterChoice())] == ["open"]


async def test_a_message_with_neither_key_nor_value_cannot_be_sent(real: Office) -> None:
    await keep(real, message=Poison(None, None, None))
    with pytest.raises(Rejected) as refused:
        await replay_letter(real.first, box=real.box, sender=real.sender, by="anna")
    assert refused.value.rule == "empty_message"


async def test_a_batch_whose_message_was_replayed_waits_for_the_new_one(real_ledger: Ledger, real: Office) -> None:
    await real_ledger.version("replayed-batch")
    ready = RuleReady(tenant="replayed-batch", business_date=DAY, version=1, rule="tax")
    await real_ledger.work.plan(ready, batch_count=1)
    batch = Batch(**ready.model_dump(exclude={"type"}), batch=0, batch_count=1)
    old = Position("work", 15, 1 << 40)
    await real_ledger.work.mark_sent(batch, old)
    # Other tests' workers read it too; they know no such set.
    await keep(real, old, message=Poison(batch.key, batch.encode(), None))
    await replay_letter(old, box=real.box, sender=real.sender, by="anna")
    [action] = await real.box.history()
    assert action.sent_to is not None
    places = await execute(real_ledger, "SELECT topic_partition, topic_offset FROM batch")
    assert [tuple(one) for one in places] == [(action.sent_to.partition, action.sent_to.offset)]


@pytest.fixture
async def swept(ledger: Ledger, broker: str | None) -> AsyncIterator[tuple[SweepState, DeadLetters, DeadLetterBox]]:
    """What a sweep is shown of a ledger, and that ledger's letters."""
    sender = KafkaSender(broker or "")
    if ledger.database and broker:
        stored = StoredDeadLetters(ledger.database, KafkaLog(broker))
        yield PostgresSweepState(ledger.database), KafkaDeadLetters(sender, ledger.database), stored
    else:
        assert ledger.rows is not None and isinstance(ledger.deliveries, MemoryDeliveries)
        memory = MemoryDeadLetterBox(ledger.rows)
        yield MemorySweepState(ledger.rows, ledger.deliveries.lease_of), memory, memory
    await sender.close()


async def test_a_batch_whose_letter_was_discarded_waits_until_it_is_replayed_by_name(
    ledger: Ledger, swept: tuple[SweepState, DeadLetters, DeadLetterBox]
) -> None:
    state, keeper, box = swept
    await ledger.version("acme")
    ready = RuleReady(tenant="acme", business_date=DAY, version=1, rule="tax")
    await ledger.work.plan(ready, batch_count=1)
    [batch] = await ledger.work.unsent(ready)
    place = Position("work", 3, 1 << 40)
    await ledger.work.mark_sent(batch, place)
    await make_old(ledger)
    assert await state.silent_batches() == [SentBatch(batch, place)]
    await keeper.keep(place, message=Poison(batch.key, batch.encode(), None), stage="work", reason=REASON)
    assert await state.silent_batches() == []
    await discard_letter(place, box=box, by="anna", reason="a test's")
    assert await state.silent_batches() == []
    await replay_letter(place, box=box, sender=MemorySender(), by="ben", states=("open", "discarded"))
    assert await state.silent_batches() == [SentBatch(batch, Position("work", 3, 0))]


async def test_a_chunk_whose_letter_was_replayed_is_on_its_way_and_one_that_was_discarded_is_not(
    ledger: Ledger, swept: tuple[SweepState, DeadLetters, DeadLetterBox]
) -> None:
    lease, last = await sealed_but_one(ledger)
    state, keeper, box = swept
    first, second = (Position("chunks", 0, offset) for offset in (1 << 40, 1 << 41))
    for position, expected in ((first, [lease]), (second, [])):
        await keeper.keep(position, message=Poison(last.key, encode_chunk(last, b"any"), None), stage="persist", reason=REASON)
        await make_old(ledger)
        assert await state.gaps() == []
        # The chunk is no other test's business, so it goes nowhere.
        if position == first:
            await replay_letter(position, box=box, sender=MemorySender(), by="anna")
        else:
            await discard_letter(position, box=box, by="anna", reason="a test's")
        assert [gap.lease for gap in await state.gaps()] == expected
