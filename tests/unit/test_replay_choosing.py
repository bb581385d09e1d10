"""From what is asked for to ranges: what the topic has, what it has lost, and which messages are meant."""

from datetime import UTC, datetime, timedelta

import pytest

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_log import MemoryLog
from dataharvest.adapters.memory_replay_ledger import MemoryReplayLedger
from dataharvest.errors import Rejected
from dataharvest.ports import Position
from dataharvest.replaying.choosing import Choice, choose, choose_from_s3, gone_since
from dataharvest.replaying.log import LoggedMessage, Span
from dataharvest.replaying.offsets import GroupPosition, Target, moves
from dataharvest.replaying.requests import Part, Request
from dataharvest.replaying.subjects import Wanted
from tests.contract.ledgers import ACCOUNTS, DAY, Ledger, memory_ledger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def log() -> MemoryLog:
    """Ten messages a minute apart in partition 0, of which three are gone; four in partition 1, none in partition 2."""
    made = MemoryLog({"chunks": [[], [], []], "work": [[]]})
    for partition, count in ((0, 10), (1, 4)):
        for number in range(count):
            made.write("chunks", partition, key=b"k", value=b"v", at=NOON + timedelta(minutes=number))
    made.begins["chunks", 0] = 3
    return made


async def chosen(request: Request, log: MemoryLog, ledger: MemoryLedger | None = None) -> Choice:
    return await choose(request, log=log, ledger=MemoryReplayLedger(ledger or MemoryLedger(), chunk_bytes=24))


async def test_from_offset_0_is_everything_that_is_left_and_what_is_gone_is_said(log: MemoryLog) -> None:
    choice = await chosen(Request(topic="chunks", from_offset=0), log)
    assert choice.spans == {0: Span(3, 10), 1: Span(0, 4)}
    assert [one.sentence for one in choice.gone] == ["partition 0: offsets 0 to 2 are gone (retention)"]
    assert choice.parts == [Part(0, 3, 10, 3), Part(1, 0, 4, 0)]


@pytest.mark.parametrize(
    ("asked", "spans", "lost"),
    [
        ({"partition": 1, "from_offset": 2}, {1: Span(2, 4)}, []),
        ({"partition": 0, "from_offset": 1, "to_offset": 2}, {}, [(0, Span(1, 2))]),
        ({"to_offset": 4}, {0: Span(3, 4), 1: Span(0, 4)}, []),
        ({"from_offset": 50}, {}, []),
        ({"from_time": NOON + timedelta(minutes=5)}, {0: Span(5, 10)}, []),
        ({"to_time": NOON + timedelta(minutes=5)}, {0: Span(3, 5), 1: Span(0, 4)}, []),
        ({"from_time": NOON, "to_time": NOON + timedelta(minutes=4)}, {0: Span(3, 4), 1: Span(0, 4)}, [(0, Span(0, 3))]),
        ({"from_time": NOON + timedelta(hours=1)}, {}, []),
    ],
)
async def test_a_range_ends_where_the_topic_does(
    log: MemoryLog, asked: dict[str, int], spans: dict[int, Span], lost: list[tuple[int, Span]]
) -> None:
    choice = await chosen(Request(topic="chunks", **asked), log)
    assert (choice.spans, [tuple(one) for one in choice.gone]) == (spans, lost)


async def test_a_partition_that_is_not_there_is_refused(log: MemoryLog) -> None:
    with pytest.raises(Rejected) as refused:
        await chosen(Request(topic="chunks", partition=7, from_offset=0), log)
    assert refused.value.message == "chunks has the partitions 0 to 2, not 7"


@pytest.mark.parametrize(
    "request_", [Request(topic="work", tenant="acme"), Request(topic="chunks", tenant="acme", from_offset=0)]
)
async def test_a_set_that_never_came_is_refused(log: MemoryLog, request_: Request) -> None:
    for choosing in (choose, choose_from_s3):
        with pytest.raises(Rejected) as refused:
            await choosing(request_, log=log, ledger=MemoryReplayLedger(MemoryLedger(), chunk_bytes=24))
        assert refused.value.rule == "nothing_arrived"


async def delivered(made: Ledger, *, at: Position) -> MemoryLedger:
    """The ledger with a delivery whose chunks were read from one place."""
    delivery_id = await made.complete("acme", "accounts", ACCOUNTS)
    assert made.rows is not None
    made.rows.deliveries[delivery_id].written_from = dict.fromkeys((0, 1), at)
    return made.rows


async def test_a_sets_chunks_are_looked_up_in_the_ledger(log: MemoryLog) -> None:
    rows = await delivered(memory_ledger(), at=Position("chunks", 1, 2))
    choice = await chosen(Request(topic="chunks", tenant="acme", business_date=DAY), log, rows)
    assert choice.spans == {1: Span(2, 3)}
    assert choice.gone == []


async def test_a_sets_chunks_that_the_topic_has_lost_are_said_to_be_gone(log: MemoryLog) -> None:
    rows = await delivered(memory_ledger(), at=Position("chunks", 0, 1))
    choice = await chosen(Request(topic="chunks", tenant="acme"), log, rows)
    assert choice.spans == {}
    assert [one.partition for one in choice.gone] == [0]


def test_what_was_lost_since_a_replay_began_is_what_it_has_not_sent_yet() -> None:
    parts = [Part(0, 0, 10, 5), Part(1, 0, 4, 4), Part(2, 0, 4, 0)]
    bounds = {0: Span(7, 20), 1: Span(4, 4), 2: Span(0, 9)}
    assert [tuple(one) for one in gone_since(parts, bounds)] == [(0, Span(5, 7))]


def message(*, value: bytes = b"", topic: str = "work", source: bytes | None = None) -> LoggedMessage:
    headers = [] if source is None else [("replayed_from", source)]
    return LoggedMessage(position=Position(topic, 1, 9), key=b"k", value=value, headers=headers)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (None, True),
        (b"work:0:4", False),
        (b"work:0:2", True),
        (b"work:0:8", True),
        (b"work:3:4", True),
        (b"chunks:0:4", True),
        (b"s3:0:4", True),
        (b"\xff", True),
        (b"nonsense", True),
    ],
)
def test_a_copy_is_left_out_when_its_original_is_in_the_range(source: bytes | None, wanted: bool) -> None:
    choosing = Wanted(Request(topic="work", from_offset=0), object_keys=(), spans={0: Span(3, 8), 1: Span(0, 10)})
    assert choosing.wants(message(source=source)) is wanted


TOLD = (
    b'{"type":"file_rejected","notification_id":"3e9076ee-0b2e-5b90-af2c-3b4d5e6f7a8c","tenant":"acme","business_date":DAY,'
    b'"version":null,"reason":"?","at":"2026-11-23T05:00:00Z"}'
)
EVENT = b'{"Records": [{"s3": {"bucket": {"name": "uploads"}, "object": {"key": "acme/accounts_20261123.csv"}}}]}'


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (message(topic="uploads", value=EVENT), True),
        (message(topic="uploads", value=EVENT.replace(b"acme", b"other")), False),
        (message(topic="uploads", value=b"garbage"), False),
        (
            message(
                topic="progress",
                value=b'{"type":"delivery_judged","tenant":"acme","business_date":"2026-11-23",'
                b'"delivery_id":1,"entity":"accounts"}',
            ),
            True,
        ),
        (
            message(
                topic="readiness",
                value=b'{"type":"rule_ready","tenant":"acme","business_date":"2026-11-24","version":1,"rule":"tax"}',
            ),
            False,
        ),
        (message(topic="notifications", value=TOLD.replace(b"DAY", b'"2026-11-23"')), True),
        (message(topic="notifications", value=TOLD.replace(b"DAY", b"null")), False),
    ],
)
def test_only_messages_about_the_named_sets_are_meant(one: LoggedMessage, wanted: bool) -> None:
    request = Request(topic="work", tenant="acme", business_date=DAY)
    choosing = Wanted(request, object_keys={"acme/accounts_20261123.csv"}, spans={})
    assert choosing.wants(one) is wanted


@pytest.mark.parametrize(
    ("target", "offset", "again", "skipped"),
    [
        ("earliest", 3, 5, 0),
        (5, 5, 3, 0),
        (1, 3, 5, 0),
        (10, 10, 0, 2),
        (NOON + timedelta(minutes=9), 9, 0, 1),
        (NOON + timedelta(hours=9), 10, 0, 2),
        (NOON - timedelta(hours=9), 3, 5, 0),
    ],
)
async def test_a_move_says_what_would_be_read_again_and_what_passed(
    log: MemoryLog, target: Target, offset: int, again: int, skipped: int
) -> None:
    position = GroupPosition("chunks", 0, 8, Span(3, 10))
    [move] = await moves([position], target, log=log)
    assert (move.target, move.again, move.skipped) == (offset, again, skipped)


async def test_an_offset_behind_the_end_is_refused(log: MemoryLog) -> None:
    with pytest.raises(Rejected) as refused:
        await moves([GroupPosition("chunks", 0, 8, Span(3, 10))], 11, log=log)
    assert refused.value.rule == "offset_beyond_end"


@pytest.mark.parametrize(("committed", "next_offset", "lag"), [(None, 3, 7), (1, 3, 7), (8, 8, 2), (10, 10, 0)])
def test_a_group_reads_on_from_what_it_has_committed_and_the_topic_still_has(
    committed: int | None, next_offset: int, lag: int
) -> None:
    position = GroupPosition("chunks", 0, committed, Span(3, 10))
    assert (position.next_offset, position.lag) == (next_offset, lag)
