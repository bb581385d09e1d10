"""Messages as JSON lines: in a stable order, each once, bytes as they were sent, written whole or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.harvest.outbound import SortedLines, write_lines


def lines_of(messages: list[tuple[str, str, int]], *, lines_in_memory: int = 1000) -> list[bytes]:
    with SortedLines(lines_in_memory=lines_in_memory) as lines:
        for topic, key, version in messages:
            value = {"message_id": str(UUID(int=version)), "version": version, "tenant": "t"}
            lines.add(topic, key, json.dumps(value).encode(), value)
        return list(lines)


MESSAGES = st.tuples(st.sampled_from(["outbound.a", "outbound.a.b"]), st.text("ab-|", min_size=1, max_size=4), st.integers(1, 12))


@given(messages=st.lists(MESSAGES, max_size=40), lines_in_memory=st.integers(1, 50))
def test_lines_are_sorted_and_each_message_comes_once_however_many_fit_into_memory(
    messages: list[tuple[str, str, int]], lines_in_memory: int
) -> None:
    found = [json.loads(line) for line in lines_of(messages, lines_in_memory=lines_in_memory)]
    assert [(one["topic"], one["key"], one["value"]["version"]) for one in found] == sorted(set(messages))


def test_the_order_of_arrival_does_not_matter() -> None:
    messages = [("o", "b", 1), ("o", "a", 2), ("o", "a", 10), ("n", "z", 1)]
    assert lines_of(messages) == lines_of(messages[::-1])


def test_a_value_keeps_its_bytes() -> None:
    lines = SortedLines()
    lines.add("o", "k", b'{"a": 1.10,  "message_id":"x"}', {"message_id": "x"})
    assert list(lines) == [b'{"topic":"o","key":"k","value":{"a": 1.10,  "message_id":"x"}}\n']


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    assert write_lines([b"1\n", b"2\n"], out) == 2
    assert out.read_text() == "1\n2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_file_stays_as_it_was_when_something_fails(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")

    def broken() -> Iterator[bytes]:
        yield b"1\n"
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        write_lines(broken(), out)
    assert out.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_device_is_written_to_and_not_replaced() -> None:
    assert write_lines([b"1\n"], Path("/dev/null")) == 1
    assert Path("/dev/null").is_char_device()
