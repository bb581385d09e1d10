"""Every rule of the journey, as the transformers and outbound messages declare them."""

from collections.abc import Iterable
from functools import cache

from dataharvest.entities import all_entities
from dataharvest.errors import Misconfigured
from dataharvest.outbound import all_outbound
from dataharvest.rules.needs import Rule, Work, persisted
from dataharvest.transformers import all_transformers

RELATIONSHIP = "relationship"


def required_entities() -> frozenset[str]:
    """Entities without which a set is not complete."""
    return frozenset(name for name, entity in all_entities().items() if entity.required)


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by name: relating first, then the transformers, then the outbound messages."""
    relate = Rule(
        name=RELATIONSHIP,
        needs=frozenset(map(persisted, required_entities())),
        provides="relation_established",
        work=Work.RELATE,
    )
    rules = [relate, *(one.rule for one in all_transformers().values()), *(one.rule for one in all_outbound().values())]
    return {rule.name: rule for rule in rules}


def require_sound_rules(rules: Iterable[Rule]) -> None:
    """Raise Misconfigured when a rule needs a fact that nothing provides: it would wait for ever."""
    known = list(rules)
    provided = {rule.provides for rule in known} | set(map(persisted, all_entities()))
    for rule in known:
        missing = sorted(rule.needs - provided)
        if missing:
            raise Misconfigured(f"{rule.name} needs {', '.join(missing)}, which no transformer provides.")
