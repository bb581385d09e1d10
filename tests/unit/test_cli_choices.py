"""A choice that does not exist is wrong usage, and the answer names those that do: never "nothing there"."""

import click
import pytest
from click.testing import CliRunner

from dataharvest.cli.dead_letters import dead_letters
from dataharvest.cli.offsets import offsets
from dataharvest.cli.quarantine import quarantine
from dataharvest.cli.recompute import recompute
from dataharvest.cli.replay import replay
from dataharvest.cli.tenant import tenant

REPAIRS = [("list",), ("history",), ("accept", "--reason", "x"), ("replay",), ("fix", "--edit", "--reason", "x")]


@pytest.mark.parametrize("words", REPAIRS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--entity", "nosuch", "there are accounts, clients, portfolios, transactions"),
        ("--rule", "nosuch", "misaligned_tail"),
        ("--rule", "", "misaligned_tail"),
        ("--tenant", "a b", "1 to 64 of the characters"),
        ("--tenant", "a" * 65, "1 to 64 of the characters"),
        ("--date", "nosuch", "%Y-%m-%d"),
    ],
)
def test_quarantine_refuses_what_nothing_is_called(words: tuple[str, ...], option: str, value: str, hint: str) -> None:
    assert hint in _refusal(quarantine, *words, option, value)


@pytest.mark.parametrize("words", [("list",), ("replay",), ("discard", "--reason", "x")], ids=lambda words: words[0])
@pytest.mark.parametrize(("option", "hint"), [("--topic", "uploads, chunks"), ("--stage", "register, persist")])
def test_dead_letters_refuses_what_nothing_is_called(words: tuple[str, ...], option: str, hint: str) -> None:
    assert hint in _refusal(dead_letters, *words, option, "nosuch")


@pytest.mark.parametrize("words", [("show", "nosuch"), ("reset", "nosuch", "--to-earliest")], ids=lambda words: words[0])
def test_offsets_names_the_topics_that_workers_read(words: tuple[str, ...]) -> None:
    assert "uploads, chunks, progress, readiness, work, notifications" in _refusal(offsets, *words)


def test_other_commands_refuse_what_nothing_is_called() -> None:
    assert "there are sum_of_deposits, tax, transactions" in _refusal(recompute, "--transformer", "nosuch")
    assert "1 to 64 of the characters" in _refusal(recompute, "--transformer", "tax", "--tenant", "a b")
    assert "which --transformer has changed: sum_of_deposits, tax" in _refusal(recompute)
    assert "takes neither --plan" in _refusal(recompute, "--history", "--plan")
    assert "1 to 64 of the characters" in _refusal(replay, "chunks", "--tenant", "a b")
    assert "uploads, chunks, progress" in _refusal(replay, "nosuch", "--from-offset", "0")
    assert "1 to 64 of the characters" in _refusal(tenant, "pause", "a b")


def _refusal(command: click.Command, *words: str) -> str:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2, done.output
    # The screen's width decides where lines break.
    return " ".join(done.output.split())
