"""When a step will be done."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.estimates import estimated_end

SINCE = datetime(2024, 3, 28, 7, tzinfo=UTC)


def test_the_rest_takes_as_long_as_what_is_done_took() -> None:
    now = SINCE + timedelta(minutes=3)

    assert estimated_end(done=3, total=4, since=SINCE, now=now) == now + timedelta(minutes=1)


@pytest.mark.parametrize(("done", "total"), [(0, 4), (4, 4), (5, 4), (2, None), (1, 10**9)])
def test_nothing_is_said_without_progress_end_or_within_reason(done: int, total: int | None) -> None:
    assert estimated_end(done=done, total=total, since=SINCE, now=SINCE + timedelta(minutes=3)) is None


def test_nothing_is_said_without_a_beginning_or_before_it() -> None:
    assert estimated_end(done=1, total=2, since=None, now=SINCE) is None
    assert estimated_end(done=1, total=2, since=SINCE, now=SINCE) is None


@given(done=st.integers(1, 100), more=st.integers(1, 100), seconds=st.integers(1, 1000))
def test_an_end_lies_ahead(done: int, more: int, seconds: int) -> None:
    now = SINCE + timedelta(seconds=seconds)

    end = estimated_end(done=done, total=done + more, since=SINCE, now=now)

    assert end is not None
    assert end > now
