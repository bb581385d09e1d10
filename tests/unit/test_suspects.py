"""A message that ends its workers is known after the third time, whether it leaves an exception behind or not."""

from dataharvest.adapters.memory_operations import MemoryJournal
from dataharvest.errors import Unavailable
from dataharvest.ports import Position
from dataharvest.suspects import CAUTIOUS_MESSAGES, Suspects

FIRST, SECOND = Position("work", 0, 7), Position("work", 0, 8)


class AbsentJournal(MemoryJournal):
    """A journal whose database is down."""

    async def add(self, position: Position, *, error: str | None) -> None:
        raise Unavailable("PostgreSQL")


async def test_nothing_is_written_while_all_is_well() -> None:
    journal = MemoryJournal()
    suspects = Suspects(journal)
    for position in (FIRST, SECOND, FIRST):
        assert await suspects.crashes_before(position) == 0
        await suspects.clear(position)
    assert journal.attempts == {}


async def test_a_crash_is_remembered_by_the_next_worker_until_the_message_is_handled() -> None:
    journal = MemoryJournal()
    for crashes in range(3):
        suspects = Suspects(journal)
        assert await suspects.crashes_before(FIRST) == crashes
        assert await suspects.crashes_before(SECOND) == 0
        await suspects.record_crash(FIRST, ValueError("bug"))
    suspects = Suspects(journal)
    assert await suspects.crashes_before(FIRST) == 3
    await suspects.clear(FIRST)
    assert journal.attempts == {}
    assert await suspects.crashes_before(FIRST) == 0


async def test_a_worker_that_died_without_a_word_is_counted_when_its_successor_is_cautious() -> None:
    journal = MemoryJournal(dead_lately=True)
    for crashes in range(3):
        suspects = Suspects(journal)
        assert await suspects.crashes_before(FIRST) == crashes
        await suspects.note(FIRST)
    assert journal.attempts == {FIRST: 3}


async def test_a_crash_that_was_written_down_before_counts_once() -> None:
    journal = MemoryJournal(dead_lately=True)
    suspects = Suspects(journal)
    await suspects.crashes_before(FIRST)
    await suspects.note(FIRST)
    await suspects.record_crash(FIRST, ValueError("bug"))
    assert journal.attempts == {FIRST: 1}


async def test_caution_ends_after_the_first_messages_of_each_partition() -> None:
    journal = MemoryJournal(dead_lately=True)
    suspects = Suspects(journal)
    for offset in range(CAUTIOUS_MESSAGES + 10):
        for partition in (0, 1):
            await suspects.crashes_before(Position("work", partition, offset))
            await suspects.note(Position("work", partition, offset))
    assert len(journal.attempts) == 2 * CAUTIOUS_MESSAGES


async def test_retries_of_one_message_use_up_no_caution() -> None:
    journal = MemoryJournal(dead_lately=True)
    suspects = Suspects(journal)
    await suspects.crashes_before(FIRST)
    for _ in range(CAUTIOUS_MESSAGES * 2):
        await suspects.note(FIRST)
    await suspects.note(SECOND)
    assert journal.attempts == {FIRST: 1, SECOND: 1}


async def test_the_journal_is_read_again_after_partitions_were_assigned() -> None:
    journal = MemoryJournal()
    suspects = Suspects(journal)
    assert await suspects.crashes_before(FIRST) == 0
    journal.attempts[FIRST] = 2
    assert await suspects.crashes_before(FIRST) == 0
    suspects.forget()
    assert await suspects.crashes_before(FIRST) == 2


async def test_a_copy_of_a_chunk_that_was_given_up_is_known_until_somebody_replays_it() -> None:
    journal = MemoryJournal(given_up_keys={b"4:7"})
    suspects = Suspects(journal)
    copy = Position("chunks", 0, 9)
    await suspects.crashes_before(copy)
    assert await suspects.is_given_up(copy, b"4:7")
    assert not await suspects.is_given_up(copy, b"4:8")
    assert not await suspects.is_given_up(Position("work", 0, 9), b"4:7")
    journal.given_up_keys.clear()
    assert not await suspects.is_given_up(copy, b"4:7")


async def test_an_outage_does_not_keep_a_worker_from_ending() -> None:
    await Suspects(AbsentJournal()).record_crash(FIRST, ValueError("bug"))
