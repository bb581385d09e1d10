"""Sequences that hypothesis makes up, on the memory fakes: wherever everything comes to rest, it is as the oracle says."""

import asyncio

from hypothesis import HealthCheck, example, given, settings

from tests.properties.events import MOST_SETS, Again, Deliver, Event, Lose, Rest, Upload, UploadAll, sequences
from tests.properties.journey import Journey
from tests.properties.story import Story

_SOME = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
_FEW = settings(_SOME, max_examples=120)
_FEWER = settings(_SOME, max_examples=60)

_CORRECTED: list[Event] = [UploadAll(0), Rest(), Upload(0, "accounts", 1, other_key=True)]
_A_REPEAT_BEFORE_WHAT_IS_OLDER: list[Event] = [*_CORRECTED, Again(0, "accounts"), Deliver(1, shuffled=True, seed=0)]
_BACK_TO_THE_FIRST: list[Event] = [UploadAll(0), Rest(), Upload(0, "accounts", 1), Rest(), Upload(0, "accounts", 0), Lose(0)]


@given(sequence=sequences(1))
@example(sequence=_A_REPEAT_BEFORE_WHAT_IS_OLDER)
@example(sequence=_BACK_TO_THE_FIRST)
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


@given(sequence=sequences(1))
@_FEWER
def test_any_sequence_judged_row_by_row_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey(slice_rows=1)).play(sequence))


@given(sequence=sequences(1, restarts=False))
@_FEWER
def test_while_nothing_gets_lost_no_sweep_is_needed_between_slices(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey(slice_rows=1)).play(sequence))


@given(sequence=sequences(1))
@_FEW
def test_any_sequence_of_small_files_done_at_once_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey(chunk_bytes=10_000, small_records=1_000)).play(sequence))


@given(sequence=sequences(1, restarts=False))
@_FEW
def test_while_nothing_gets_lost_no_sweep_is_needed_for_what_is_done_at_once(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey(chunk_bytes=10_000, small_records=1_000)).play(sequence))


@given(sequence=sequences(MOST_SETS, most=24))
@_FEW
def test_any_sequence_on_three_tenants_and_two_dates_ends_as_the_oracle_says(sequence: list[Event]) -> None:
    asyncio.run(Story(Journey()).play(sequence))
