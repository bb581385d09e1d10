"""Text from outside shows all that it holds."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.text import visible


@pytest.mark.parametrize("text", ["Müller & Söhne", "=1+2", "<b>fett</b>", "日本", "مرحبا", ""])
def test_ordinary_writing_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(("text", "shown"), [("a\u202eb", "a\\u202eb"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb")])
def test_what_turns_hides_or_moves_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(text=st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    left = {character for character in visible(text) if unicodedata.category(character) in ("Cc", "Cs")}

    assert left == set()
