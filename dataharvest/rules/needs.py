"""When something may run: its needs are among the facts, and it has not been announced yet. One form for every rule."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


class Work(Enum):
    """What a rule's batches do."""

    RELATE = "relate"
    TRANSFORM = "transform"
    PUBLISH = "publish"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Something that runs once per set version, when every fact it needs holds."""

    name: str
    needs: frozenset[str]
    provides: str
    """Fact that holds once all batches of the rule are done."""
    work: Work


def persisted(entity: str) -> str:
    """Fact that a clean delivery of the entity is stored."""
    return f"{entity}_persisted"


def ready_rules(rules: Iterable[Rule], *, facts: Collection[str], announced: Collection[str]) -> list[Rule]:
    """Rules whose needs hold and that were not announced before, in the order given."""
    held = set(facts)
    return [rule for rule in rules if rule.needs <= held and rule.name not in announced]
