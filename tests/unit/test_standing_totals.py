"""How control totals that differ, or are missing, show in where a set stands."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dataharvest.rulebook import all_rules, required_entities
from dataharvest.rules.control_totals import Difference, problem_of
from dataharvest.rules.standing import SETTLED, Standing, State, standing
from dataharvest.rules.versions import DeliveryView, SetView, VersionView

START = datetime(2026, 11, 23, tzinfo=UTC)
RULES = tuple(all_rules().values())
IDS = {entity: number for number, entity in enumerate(sorted(required_entities()), start=1)}
FOUND = [Difference(entity="accounts", what="records", expected=2, found=3)]
SENTENCE = "accounts: records is 2 expected, 3 found, difference 1"


def version(state: str, *, announced: frozenset[str] = frozenset()) -> VersionView:
    return VersionView(version=1, state=state, deliveries=IDS, facts=frozenset({"relation_established"}), announced=announced)


def stands(problem: dict[str, Any] | None, *versions: VersionView, entities: tuple[str, ...] = tuple(IDS)) -> Standing:
    deliveries = tuple(
        DeliveryView(
            delivery_id=IDS[entity], entity=entity, state="complete", last_modified=START, object_key=entity, open_quarantine=0
        )
        for entity in entities
    )
    view = SetView(deliveries=deliveries, versions=versions)
    return standing(view, required=IDS, rules=RULES, problem=problem)


def test_a_difference_blocks_before_the_first_version_and_while_one_is_computed() -> None:
    for versions in ((), (version("open"),)):
        found = stands(problem_of("blocked", FOUND, deliveries=IDS), *versions)
        assert (found.state, found.waits_for, found.reason) == (State.BLOCKED, ("control totals",), f"{SENTENCE}.")


def test_a_difference_after_publication_disputes_and_says_what_stands() -> None:
    found = stands(problem_of("disputed", FOUND, deliveries=IDS), version("published"))
    assert (found.state, found.reason) == (State.DISPUTED, f"{SENTENCE}; version 1 is published and stands.")
    assert found.state in SETTLED


def test_a_required_manifest_is_what_the_set_waits_for() -> None:
    found = stands(problem_of("waits", [], deliveries=IDS))
    assert (found.state, found.waits_for) == (State.INCOMPLETE, ("manifest",))


@pytest.mark.parametrize("means", ["waits", "blocked"])
def test_a_missing_file_comes_first(means: Any) -> None:
    found = stands(problem_of(means, FOUND, deliveries={**IDS, "accounts": 0}), entities=tuple(IDS)[1:])
    assert (found.state, found.waits_for) == (State.INCOMPLETE, ("accounts",))


def test_a_problem_of_older_files_is_about_to_be_decided_again() -> None:
    found = stands(problem_of("blocked", FOUND, deliveries={**IDS, "accounts": 99}))
    assert found.state is State.READY


def test_a_version_that_is_going_out_finishes_first() -> None:
    going = version("open", announced=frozenset({"outbound.clients"}))
    assert stands(problem_of("disputed", FOUND, deliveries=IDS), going).state is State.PUBLISHING


def test_without_a_problem_nothing_changes() -> None:
    assert stands(None, version("published")).state is State.PUBLISHED
