"""A rule runs once, as soon as everything it needs holds, in whatever order that comes about."""

from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.needs import Rule, Work, persisted, ready_rules

FACTS = "abcdef"

needs = st.frozensets(st.sampled_from(FACTS))
rulebooks = st.lists(needs, max_size=6).map(
    lambda found: [Rule(name=f"r{n}", needs=one, provides=f"p{n}", work=Work.TRANSFORM) for n, one in enumerate(found)]
)


@given(rulebooks, st.permutations(FACTS), st.data())
def test_every_rule_is_announced_once_and_at_the_first_moment_its_needs_hold(
    rules: list[Rule], arriving: list[str], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(FACTS)))
    held: set[str] = set()
    announced: set[str] = set()
    for fact in ["", *arriving, *repeated]:
        before = set(held)
        held |= set(fact)
        for rule in ready_rules(rules, facts=held, announced=announced):
            assert rule.needs <= held
            assert not rule.needs or not rule.needs <= before
            assert rule.name not in announced
            announced.add(rule.name)
    assert announced == {rule.name for rule in rules}


@given(rulebooks, st.frozensets(st.sampled_from(FACTS)), st.sampled_from(FACTS))
def test_more_facts_make_no_rule_unready(rules: list[Rule], facts: frozenset[str], fact: str) -> None:
    fewer = ready_rules(rules, facts=facts, announced=())
    more = ready_rules(rules, facts=facts | {fact}, announced=())
    assert [rule for rule in more if rule in fewer] == fewer


def test_the_journey_s_two_filters_follow_from_the_declarations() -> None:
    rules = all_rules().values()
    entities = {persisted(one) for one in ("accounts", "clients", "portfolios", "transactions")}

    def names(facts: set[str]) -> set[str]:
        return {rule.name for rule in ready_rules(rules, facts=facts, announced=())}

    for missing in entities:
        assert names(entities - {missing}) == set()
    assert names(entities) == {RELATIONSHIP}
    related = entities | {"relation_established"}
    assert names(related) == {RELATIONSHIP, "tax", "transactions", "sum_of_deposits"}
    assert names(related | {"tax"}) - names(related) == {"outbound.clients"}
    assert names(related | {"transactions"}) == names(related)
    assert names(related | {"transactions", "sum_of_deposits"}) - names(related) == {"outbound.portfolios"}
