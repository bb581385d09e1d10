"""Folding facts is idempotent and free of order."""

import json
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from dataharvest.messages import BatchDone, ChunkPersisted, DeliveryRemoved, DeliverySealed, EditionRaised, Progress
from dataharvest.rules.progress import (
    SetProgress,
    advance,
    doubts,
    finished_rules,
    full_deliveries,
    lists,
    merge,
    nothing,
    parse_rule_key,
    rule_key,
    subject_of,
    without_delivery,
    without_rule,
)

DAY = date(2026, 11, 23)
CHUNK_COUNTS = {1: 0, 2: 1, 3: 4}
BATCH_COUNTS = {"tax": 1, "transactions": 3}

deliveries = st.sampled_from(sorted(CHUNK_COUNTS))
rules = st.sampled_from(sorted(BATCH_COUNTS))


def sealed(delivery_id: int) -> DeliverySealed:
    count = CHUNK_COUNTS[delivery_id]
    return DeliverySealed(tenant="t", business_date=DAY, delivery_id=delivery_id, entity="accounts", chunk_count=count)


def persisted(delivery_id: int, index: int) -> ChunkPersisted:
    return ChunkPersisted(tenant="t", business_date=DAY, delivery_id=delivery_id, entity="accounts", index=index)


def done(rule: str, index: int, *, version: int = 1) -> BatchDone:
    count = BATCH_COUNTS[rule]
    return BatchDone(tenant="t", business_date=DAY, version=version, rule=rule, batch=index, batch_count=count)


facts = st.lists(
    st.one_of(
        deliveries.map(sealed),
        st.builds(persisted, deliveries, st.integers(0, 3)),
        st.builds(done, rules, st.just(0), version=st.integers(1, 2)),
        st.builds(done, st.just("transactions"), st.integers(0, 2), version=st.integers(1, 2)),
    )
)


def fold(seen: list[Progress], state: SetProgress | None = None) -> SetProgress:
    state = state or nothing()
    for fact in seen:
        state = advance(state, fact)
    return state


@given(facts, st.data())
def test_any_order_and_any_repetition_of_the_facts_gives_the_same_state(seen: list[Progress], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(seen))) if seen else []
    shuffled = data.draw(st.permutations(seen + again))
    assert fold(shuffled) == fold(seen)


@given(facts, facts)
def test_merging_is_knowing_what_both_know(first: list[Progress], second: list[Progress]) -> None:
    assert merge(fold(first), fold(second)) == fold(first + second)


@given(facts, facts)
def test_merging_does_not_depend_on_who_comes_first(first: list[Progress], second: list[Progress]) -> None:
    assert merge(fold(first), fold(second)) == merge(fold(second), fold(first))


@given(facts)
def test_merging_with_itself_or_with_nothing_changes_nothing(seen: list[Progress]) -> None:
    state = fold(seen)
    assert merge(state, state) == merge(state, nothing()) == merge(nothing(), state) == state


@given(facts)
def test_the_state_survives_the_table_s_json(seen: list[Progress]) -> None:
    assert json.loads(json.dumps(fold(seen))) == fold(seen)


@given(facts, st.sampled_from([sealed(3), persisted(3, 0), done("tax", 0)]))
def test_a_state_that_is_in_the_table_is_not_changed_in_place(seen: list[Progress], fact: Progress) -> None:
    state = fold(seen)
    before = json.dumps(state)
    advance(state, fact)
    merge(state, fold([fact]))
    without_delivery(state, 3)
    without_rule(state, 1, "tax")
    assert json.dumps(state) == before


@given(facts)
def test_a_delivery_is_full_exactly_when_it_is_sealed_and_every_chunk_was_seen(seen: list[Progress]) -> None:
    expected = [
        number
        for number, count in CHUNK_COUNTS.items()
        if sealed(number) in seen and all(persisted(number, index) in seen for index in range(count))
    ]
    assert full_deliveries(fold(seen)) == expected


@given(facts)
def test_a_rule_is_finished_exactly_when_every_batch_was_seen(seen: list[Progress]) -> None:
    expected = [
        (version, rule)
        for version in (1, 2)
        for rule, count in BATCH_COUNTS.items()
        if all(done(rule, index, version=version) in seen for index in range(count))
    ]
    assert finished_rules(fold(seen)) == sorted(expected)


def test_a_removed_delivery_is_forgotten_and_others_stay() -> None:
    removed = DeliveryRemoved(tenant="t", business_date=DAY, delivery_id=3, entity="accounts", state="rejected")
    state = fold([persisted(3, 0), sealed(2), removed])
    assert list(state["deliveries"]) == ["2"]
    assert advance(state, removed) == state


def test_what_is_left_out_is_gone() -> None:
    state = fold([sealed(1), sealed(2), done("tax", 0), done("tax", 0, version=2)])
    assert list(without_delivery(state, 1)["deliveries"]) == ["2"]
    assert list(without_rule(state, 1, "tax")["rules"]) == ["2|tax"]


def test_a_rule_with_a_bar_in_its_name_keeps_it() -> None:
    assert parse_rule_key(rule_key(12, "a|b")) == (12, "a|b")


@given(facts, st.integers(1, 9))
def test_an_edition_changes_nothing_that_is_remembered_and_each_is_a_subject_of_its_own(
    seen: list[Progress], edition: int
) -> None:
    state = fold(seen)
    raised = EditionRaised(tenant="t", business_date=DAY, edition=edition)
    assert advance(state, raised) == state
    assert not lists(state, raised)
    assert subject_of(raised) != subject_of(raised.model_copy(update={"edition": edition + 1}))


def test_a_sealing_doubts_a_state_that_lacks_a_chunk_and_a_batch_one_that_knows_it() -> None:
    state = nothing()
    for index in range(3):
        assert not doubts(state, persisted(3, index))
        state = advance(state, persisted(3, index))
        assert doubts(state, sealed(3))
    assert not doubts(advance(state, persisted(3, 3)), sealed(3))
    assert not doubts(state, done("transactions", 0))
    assert doubts(advance(state, done("transactions", 0)), done("transactions", 0))
