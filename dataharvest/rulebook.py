"""Every rule of the journey, as the transformers and outbound messages declare them."""

from collections.abc import Collection, Iterable
from functools import cache

from dataharvest.contracts import Contract
from dataharvest.entities import all_entities
from dataharvest.errors import Misconfigured
from dataharvest.outbound import all_outbound
from dataharvest.rules.needs import Rule, Work, persisted
from dataharvest.transformers import all_transformers

RELATIONSHIP = "relationship"


def required_entities() -> frozenset[str]:
    """Entities without which a set is not complete."""
    return frozenset(name for name, entity in all_entities().items() if entity.required)


def waived_entities(contract: Contract, *, present: Collection[str]) -> frozenset[str]:
    """Entities of which a set may have no file, and has none: rules go on as if there was one without records."""
    return required_entities() - set(contract.required) - set(present)


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by name: relating first, then the transformers, then the outbound messages.

    Raises:
        Misconfigured: two rules have the same name, or provide the same fact.
    """
    relate = Rule(
        name=RELATIONSHIP,
        needs=frozenset(map(persisted, required_entities())),
        provides="relation_established",
        work=Work.RELATE,
    )
    rules = [relate, *(one.rule for one in all_transformers().values()), *(one.rule for one in all_outbound().values())]
    _require_distinct(rules)
    return {rule.name: rule for rule in rules}


def _require_distinct(rules: Iterable[Rule]) -> None:
    """Raise Misconfigured when two rules have one name, or would both make the same fact true."""
    by_name: dict[str, Rule] = {}
    by_fact = {persisted(name): f"entity {name}" for name in all_entities()}
    for rule in rules:
        this = f"{rule.work.value} rule {rule.name}"
        if other := by_name.get(rule.name):
            raise Misconfigured(f"Two rules are called {rule.name!r}: one to {other.work.value}, one to {rule.work.value}.")
        if other_fact := by_fact.get(rule.provides):
            raise Misconfigured(f"{other_fact} and {this} both provide the fact {rule.provides!r}: rename one.")
        by_name[rule.name], by_fact[rule.provides] = rule, this


def require_sound_rules(rules: Iterable[Rule]) -> None:
    """Raise Misconfigured when a rule needs a fact that nothing provides: it would wait for ever."""
    known = list(rules)
    provided = {rule.provides for rule in known} | set(map(persisted, all_entities()))
    for rule in known:
        missing = sorted(rule.needs - provided)
        if missing:
            raise Misconfigured(f"{rule.name} needs {', '.join(missing)}, which no transformer provides.")
