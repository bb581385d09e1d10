"""What may be asked to be sent once more, and in which words."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from dataharvest import pipeline
from dataharvest.cli.offsets import offsets
from dataharvest.cli.recompute import recompute
from dataharvest.cli.replay import Moment, replay
from dataharvest.replaying.requests import REPLAYABLE, Part, Replay, Request


def test_every_topic_that_workers_read_can_be_replayed() -> None:
    assert set(REPLAYABLE) == set(pipeline.CONSUMED)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"topic": "chunks"}, "say which part"),
        ({"topic": "chunks", "partition": 3}, "say which part"),
        ({"topic": "chunks", "from_offset": 0, "to_time": datetime(2026, 11, 23, tzinfo=UTC)}, "not by both"),
        ({"topic": "chunks", "from_offset": 5, "to_offset": 5}, "ends where it begins"),
        ({"topic": "outbound.clients", "from_offset": 0}, "without our help"),
        ({"topic": "dead-letters", "from_offset": 0}, "dead-letters replay"),
        ({"topic": "nonsense", "from_offset": 0}, "not 'nonsense'"),
        ({"topic": "work", "tenant": "acme", "from_s3": True}, "no messages of work"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Request(**asked)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "request_",
    [
        Request(topic="chunks", from_offset=0),
        Request(topic="chunks", tenant="acme", business_date=datetime(2026, 11, 23, tzinfo=UTC).date(), from_s3=True),
        Request(topic="work", from_time=datetime(2026, 11, 23, tzinfo=UTC), partition=3),
    ],
)
def test_a_request_survives_being_stored(request_: Request) -> None:
    assert Request.model_validate(request_.model_dump(mode="json", exclude_none=True)) == request_


def test_what_is_left_of_a_replay_is_what_no_part_has_passed() -> None:
    parts = (Part(0, 0, 10, 4), Part(1, 5, 8, 8), Part(2, 5, 8, 9))
    begun = Replay(1, Request(topic="chunks", from_offset=0), parts, "anna", datetime(2026, 11, 23, tzinfo=UTC))
    assert (begun.total, begun.left) == (16, 6)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T18:00", datetime(2026, 11, 23, 18, tzinfo=UTC)),
        ("2026-11-23T18:00:00+01:00", datetime(2026, 11, 23, 18, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-23T18:00:00Z", datetime(2026, 11, 23, 18, tzinfo=UTC)),
    ],
)
def test_a_moment_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    assert Moment().convert(text, None, None) == moment


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say which TOPIC"),
        (["chunks"], "say which part"),
        (["chunks", "--from-offset", "-1"], "'--from-offset'"),
        (["chunks", "--from-time", "yesterday"], "'yesterday' is no time"),
        (["chunks", "--from-offset", "0", "--rate", "0"], "'--rate'"),
        (["chunks", "--resume", "3"], "take no topic"),
        (["--resume", "3", "--tenant", "acme"], "take no topic"),
        (["--list", "--resume", "3"], "take no topic"),
        (["chunks", "--tenant", " "], "may not be empty"),
        (["clients", "--from-offset", "0"], "not 'clients'"),
    ],
)
def test_wrong_words_for_a_replay_are_wrong_usage(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(replay, arguments)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["reset"], "TOPIC"),
        (["reset", "chunks"], "say where to"),
        (["reset", "chunks", "--to-earliest", "--to-offset", "3"], "say where to"),
        (["reset", "outbound.clients", "--to-earliest"], "is called 'outbound.clients'; there are uploads"),
        (["show", "nonsense"], "is called 'nonsense'; there are uploads"),
    ],
)
def test_wrong_words_for_offsets_are_wrong_usage(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(offsets, arguments)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [([], "--transformer"), (["--transformer", "nonsense"], "there are sum_of_deposits, tax, transactions")],
)
def test_wrong_words_for_recomputing_are_wrong_usage(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(recompute, arguments)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output
