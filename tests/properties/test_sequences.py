"""Sequences that hypothesis makes up, on the memory fakes: wherever everything comes to rest, it is as the oracle says."""

import asyncio

from hypothesis import HealthCheck, given, settings

from tests.properties.events import MOST_SETS, Event, sequences
from tests.properties.journey import Journey
from tests.properties.story import Story

_SOME = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
_FEW = settings(_SOME, max_examples=120)


@given(sequence=sequences(1))
@_SOME
def test_any_sequence_on_one_set_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey()).play(sequence))


@given(sequence=sequences(1, restarts=False))
@_FEW
def test_while_nothing_gets_lost_no_sweep_is_needed(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey()).play(sequence))


@given(sequence=sequences(1))
@_FEW
def test_any_sequence_on_a_bucket_without_versions_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey(versioned=False)).play(sequence))


@given(sequence=sequences(MOST_SETS, most=24))
@_FEW
def test_any_sequence_on_three_tenants_and_two_dates_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey()).play(sequence))
