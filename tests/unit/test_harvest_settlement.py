"""When a harvest is over, and what it waits for before."""

from datetime import date

import pytest

from dataharvest.deliveries import SetKey
from dataharvest.harvest.settlement import Sight, awaited, is_settled
from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import Standing, State

DAY = date(2024, 3, 28)
KEY = SetKey("t", DAY)


def sight(state: str | None, standing: State | None = None) -> Sight:
    sets = None
    if standing is not None:
        sets = {KEY: Standing(state=standing, version=None, waits_for=(), reason="because.", cause=Cause.NOTHING)}
    return Sight(uploads={"t/a.csv": state}, sets=sets)


@pytest.mark.parametrize(
    "state", ["complete", "repeat", "rejected", "superseded", "abandoned", "compared", "overwritten", "broken"]
)
@pytest.mark.parametrize("standing", [State.PUBLISHED, State.BLOCKED, State.DISPUTED, State.INCOMPLETE])
def test_it_is_over_when_uploads_have_ended_and_sets_stand_still(state: str, standing: State) -> None:
    assert is_settled(sight(state, standing), tenant="t", dates=[DAY])
    assert awaited(sight(state, standing), tenant="t", dates=[DAY]) == []


def test_an_upload_that_does_not_add_up_is_waited_for_no_longer() -> None:
    assert is_settled(sight("broken", State.BLOCKED), tenant="t", dates=[DAY])


@pytest.mark.parametrize("state", [None, "registered", "waiting", "splitting", "sealed", "judging", "kept"])
def test_it_is_not_over_while_an_upload_moves_whatever_the_set_says(state: str | None) -> None:
    assert not is_settled(sight(state, State.PUBLISHED), tenant="t", dates=[DAY])
    [sentence] = awaited(sight(state, State.PUBLISHED), tenant="t", dates=[DAY])
    assert sentence == f"t/a.csv: {state or 'no worker has registered it yet'}"


@pytest.mark.parametrize("standing", [State.LOADING, State.READY, State.TRANSFORMING, State.PUBLISHING])
def test_it_is_not_over_while_a_set_moves(standing: State) -> None:
    assert not is_settled(sight("repeat", standing), tenant="t", dates=[DAY])
    assert awaited(sight("repeat", standing), tenant="t", dates=[DAY]) == [f"2024-03-28: {standing}, because."]


def test_a_set_that_is_not_known_yet_is_waited_for() -> None:
    unknown = Sight(uploads={}, sets={})
    assert not is_settled(unknown, tenant="t", dates=[DAY])
    assert awaited(unknown, tenant="t", dates=[DAY]) == ["2024-03-28: nothing is known of this set"]


def test_without_sets_only_the_uploads_count() -> None:
    assert is_settled(Sight(uploads={"t/bad.csv": "rejected"}, sets={}), tenant="t", dates=[])
