"""The words of `dataharvest dead-letters`, and what needs no service."""

from dataclasses import replace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dataharvest.adapters.memory_dead_letters import MemoryDeadLetterBox
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.cli.dead_letters import dead_letters
from dataharvest.cli.dead_letters_work import act_on, nothing_open, require_rule
from dataharvest.cli.letter_text import full_text, with_content
from dataharvest.errors import Rejected
from dataharvest.ports import Position
from dataharvest.replaying.dead_letters import LetterContent, discard_letter, name_of, position_named, with_source
from tests.agents.test_dead_letters import letter_of


@pytest.mark.parametrize("position", [Position("chunks", 3, 17), Position("outbound.clients", 0, 0)])
def test_a_name_gives_back_its_position(position: Position) -> None:
    assert position_named(name_of(position)) == position


@pytest.mark.parametrize(
    "name", ["", "chunks", "chunks:3", ":3:4", "chunks:-1:3", "chunks:1:²", "chunks:1:2:3", f"work:0:{10**20}"]
)
def test_what_names_no_message_is_refused(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        position_named(name)
    assert refused.value.rule == "letter_name"


def test_the_source_replaces_an_earlier_one_and_no_other_header() -> None:
    headers = [("a", b"1"), ("replayed_from", b"x:0:0"), ("a", None)]
    assert with_source(headers, Position("work", 1, 2)) == [("a", b"1"), ("a", None), ("replayed_from", b"work:1:2")]


def test_what_a_terminal_would_obey_is_shown_as_text() -> None:
    content = LetterContent(key=None, value=b"\x1b[31m\xff" + b"x" * 3000, headers=[("h", None)], details={"line": "3"})
    text = full_text(letter_of(Position("work", 1, 2)), [], content)
    assert "\x1b" not in text
    assert r"\x1b[31m\xff" in text
    assert "value, 3,006 bytes" in text
    assert text.endswith("…")
    assert "key: none" in text


def test_bytes_that_are_gone_leave_the_rest_to_be_read() -> None:
    letter = letter_of(Position("work", 1, 2))
    assert "value" not in with_content(letter, [], None)
    assert full_text(letter, [], None).startswith("work:1:2, open")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay"], "name the messages"),
        (["replay", "work:1:2", "--all"], "name the messages"),
        (["discard", "work:1:2"], "--reason"),
        (["discard", "work:1:2", "--reason", "  "], "may not be empty"),
        (["replay", "work:1:2", "--by", ""], "may not be empty"),
        (["list", "--state", "nice"], "'nice' is not one of"),
        (["show"], "TOPIC:PARTITION:OFFSET"),
    ],
)
def test_wrong_words_are_wrong_usage(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(dead_letters, arguments)
    assert result.exit_code == 2
    assert sentence in result.output


def box_with(*rules: str) -> MemoryDeadLetterBox:
    """Open letters that broke these rules."""
    letters = [replace(letter_of(Position("work", 0, offset)), rule=rule) for offset, rule in enumerate(rules)]
    return MemoryDeadLetterBox(letters={one.position: one for one in letters})


@pytest.mark.parametrize("rule", [None, "crashed_worker", "sqlstate_22003", "of_a_plugin"])
async def test_a_rule_that_a_message_can_break_may_be_asked_for(rule: str | None) -> None:
    await require_rule(box_with("of_a_plugin"), rule)


@pytest.mark.parametrize(
    ("box", "hint"),
    [(box_with("of_a_plugin"), "the letters there are broke of_a_plugin"), (box_with(), "there are chunk_conflict,")],
)
async def test_a_rule_that_nobody_knows_is_wrong_usage(box: MemoryDeadLetterBox, hint: str) -> None:
    with pytest.raises(click.BadParameter, match=f"no rule of a message is called 'nosuch'; {hint}"):
        await require_rule(box, "nosuch")


async def test_a_plan_says_that_a_discarded_letter_is_sent_again_only_by_its_name() -> None:
    box = box_with("unreadable_message")
    await discard_letter(Position("work", 0, 0), box=box, by="anna", reason="a test's")
    named = {"open": "would be sent again", "discarded": "would be sent again"}

    async def sentences(names: list[str], plan: dict[Any, str]) -> list[str]:
        return [one.sentence for one in await act_on(box, MemorySender(), names, {}, None, plan=plan)]

    assert await sentences(["work:0:0"], named) == ["work:0:0 would be sent again"]
    assert await sentences(["work:0:0"], {"open": "would be discarded"}) == ["work:0:0 would be left alone: it is discarded"]
    assert await sentences([], {"open": "would be sent again"}) == []


async def test_where_nothing_is_open_it_is_said_what_became_of_it() -> None:
    box = box_with("unreadable_message", "crashed_worker")
    await discard_letter(Position("work", 0, 0), box=box, by="anna", reason="a test's")
    assert await nothing_open(box, {"rule": "unreadable_message"}) == (
        "no open dead letter is meant: 1 was discarded before; `dataharvest dead-letters history` says by whom"
    )
    assert await nothing_open(box, {"rule": "encoding"}) == "no dead letter is meant"
