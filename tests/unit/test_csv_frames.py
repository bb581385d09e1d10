"""Frames of what PostgreSQL copies out: small ones are taken apart by hand, and hold the same."""

from io import BytesIO

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.adapters.postgres import csv_frames
from dataharvest.adapters.postgres.csv_frames import frame_of

COLUMNS = ("first", "second")
# PostgreSQL writes no NUL, and quotes what holds a quote, a comma, an end of line, or nothing at all.
FIELDS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def copied(rows: list[tuple[str | None, ...]]) -> bytes:
    """The rows as PostgreSQL writes them."""
    return "".join(",".join(map(_field, row)) + "\n" for row in rows).encode()


def _field(value: str | None) -> str:
    if value is None:
        return ""
    return '"' + value.replace('"', '""') + '"' if not value or set(value) & set('",\r\n') else value


@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=8))
def test_what_was_copied_out_is_what_was_stored(rows: list[tuple[str | None, ...]]) -> None:
    frame = frame_of(copied(rows), COLUMNS)
    assert frame.rows() == rows
    assert frame.schema == dict.fromkeys(COLUMNS, pl.String())


@pytest.mark.parametrize("rows", [[("a", "b")], [(None, "b"), ("a", None), (None, None)], [("ä ", "\u2028x\x0b")]])
def test_small_frames_are_those_of_large_ones(rows: list[tuple[str | None, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    small = frame_of(copied(rows), COLUMNS)
    monkeypatch.setattr(csv_frames, "_SMALL_BYTES", 0)
    assert frame_of(copied(rows), COLUMNS).equals(small)
    assert small.equals(pl.read_csv(BytesIO(copied(rows)), has_header=False, new_columns=list(COLUMNS)))


def test_one_column_of_nothing_is_kept() -> None:
    assert frame_of(copied([(None,), ("a",)]), ("only",)).rows() == [(None,), ("a",)]
