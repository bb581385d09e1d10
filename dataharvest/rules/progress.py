"""What is known of a set's progress: a fold of the facts on ``progress`` that is idempotent and free of order.

The state is plain JSON, because it lives in the Faust table:
``{"deliveries": {"12": {"entity", "chunks", "stored"}}, "rules": {"1|tax": {"count", "done"}}}``;
``chunks`` is null until sealed.
"""

from typing import Any, TypedDict

from dataharvest.messages import (
    BatchDone,
    ChunkPersisted,
    DeliveryJudged,
    DeliveryRemoved,
    DeliverySealed,
    EditionRaised,
    ManifestRead,
    Progress,
)
from dataharvest.rules.ranges import Ranges, covers, union, with_index


class DeliveryProgress(TypedDict):
    """Chunks of one delivery: how many there are, if known, and which are stored."""

    entity: str
    chunks: int | None
    stored: Ranges


class RuleProgress(TypedDict):
    """Batches of one rule of one set version: how many there are and which are done."""

    count: int
    done: Ranges


class SetProgress(TypedDict):
    """Progress of one set; finished parts are left out."""

    deliveries: dict[str, DeliveryProgress]
    rules: dict[str, RuleProgress]


def nothing() -> SetProgress:
    """Progress of a set of which nothing is known."""
    return {"deliveries": {}, "rules": {}}


def advance(state: SetProgress, fact: Progress) -> SetProgress:
    """The progress after one more fact; seeing a fact again changes nothing, and order does not matter."""
    match fact:
        case DeliverySealed():
            return _with_delivery(state, fact.delivery_id, fact.entity, chunks=fact.chunk_count, stored=[])
        case ChunkPersisted():
            return _with_delivery(state, fact.delivery_id, fact.entity, chunks=None, stored=[[fact.index, fact.index]])
        case BatchDone():
            return _with_batch(state, fact)
        case DeliveryRemoved() | DeliveryJudged():
            return without_delivery(state, fact.delivery_id)
        case ManifestRead() | EditionRaised():
            # Manifests and editions are looked up when the set is decided about; nothing has to be remembered.
            return state


def merge(state: SetProgress, other: SetProgress) -> SetProgress:
    """What either of the two knows."""
    merged = state
    for delivery_id, delivery in other["deliveries"].items():
        merged = _with_delivery(
            merged, int(delivery_id), delivery["entity"], chunks=delivery["chunks"], stored=delivery["stored"]
        )
    rules = dict(merged["rules"])
    for name, rule in other["rules"].items():
        known = rules.get(name, rule)
        rules[name] = {"count": rule["count"], "done": union(known["done"], rule["done"])}
    return {**merged, "rules": rules}


def lists(state: SetProgress, fact: Progress) -> bool:
    """Whether the state knows of the delivery or rule that the fact is about as one that goes on."""
    has_ended = isinstance(fact, DeliveryRemoved | DeliveryJudged)
    return not has_ended and subject_of(fact) in {**state["deliveries"], **state["rules"]}


def doubts(state: SetProgress, fact: Progress) -> bool:
    """Whether the fact may be told because the state lacks others: a sweep tells it when all is stored and nothing was concluded.

    That is a sealing that finds chunks missing, or a batch that is known to be done.
    """
    after = advance(state, fact)
    match fact:
        case DeliverySealed():
            return fact.delivery_id not in full_deliveries(after)
        case BatchDone():
            return after == state
        case _:
            return False


def is_the_last(fact: Progress) -> bool:
    """Whether the fact alone says that what it is about has ended, whatever else is known."""
    match fact:
        case DeliverySealed() | ChunkPersisted():
            return False
        case BatchDone():
            return fact.batch_count == 1
        case DeliveryRemoved() | DeliveryJudged() | ManifestRead() | EditionRaised():
            return True


def without(state: SetProgress, fact: Progress) -> SetProgress:
    """The progress with what has ended by this fact alone left out; facts that end nothing change nothing."""
    match fact:
        case DeliveryRemoved() | DeliveryJudged():
            return without_delivery(state, fact.delivery_id)
        case BatchDone() if fact.batch_count == 1:
            return without_rule(state, fact.version, fact.rule)
        case _:
            return state


def subject_of(fact: Progress) -> str:
    """Key, within the state, of the delivery, rule, manifest or edition that the fact is about."""
    match fact:
        case BatchDone():
            return rule_key(fact.version, fact.rule)
        case ManifestRead():
            return f"manifest|{fact.manifest_id}"
        case EditionRaised():
            return f"edition|{fact.edition}"
        case DeliveryJudged():
            # A subject of its own: chunks that come again end the delivery's subject before it is judged.
            return f"{fact.delivery_id} judged"
        case _:
            return str(fact.delivery_id)


def full_deliveries(state: SetProgress) -> list[int]:
    """Deliveries of which every chunk is stored."""
    known = state["deliveries"].items()
    return sorted(int(key) for key, one in known if one["chunks"] is not None and covers(one["stored"], one["chunks"]))


def finished_rules(state: SetProgress) -> list[tuple[int, str]]:
    """Version and name of the rules of which every batch is done."""
    done = [key for key, rule in state["rules"].items() if covers(rule["done"], rule["count"])]
    return sorted(parse_rule_key(key) for key in done)


def without_delivery(state: SetProgress, delivery_id: int) -> SetProgress:
    """The progress with this delivery left out."""
    kept = {key: one for key, one in state["deliveries"].items() if key != str(delivery_id)}
    return {**state, "deliveries": kept}


def without_rule(state: SetProgress, version: int, rule: str) -> SetProgress:
    """The progress with this rule left out."""
    return {**state, "rules": {key: one for key, one in state["rules"].items() if key != rule_key(version, rule)}}


def without_single_batches(state: SetProgress) -> SetProgress:
    """The progress without rules of one batch: nothing is counted of them, and perhaps no fact tells of their end."""
    return {**state, "rules": {key: one for key, one in state["rules"].items() if one["count"] > 1}}


def rule_key(version: int, rule: str) -> str:
    """Key of a rule of a set version within the state."""
    return f"{version}|{rule}"


def parse_rule_key(key: str) -> tuple[int, str]:
    """Version and rule of a key made by ``rule_key``."""
    version, _, rule = key.partition("|")
    return int(version), rule


def _with_delivery(state: SetProgress, delivery_id: int, entity: str, *, chunks: int | None, stored: Ranges) -> SetProgress:
    known: Any = state["deliveries"].get(str(delivery_id), {"chunks": None, "stored": []})
    delivery: DeliveryProgress = {
        "entity": entity,
        "chunks": known["chunks"] if chunks is None else chunks,
        "stored": union(known["stored"], stored),
    }
    return {**state, "deliveries": {**state["deliveries"], str(delivery_id): delivery}}


def _with_batch(state: SetProgress, fact: BatchDone) -> SetProgress:
    key = rule_key(fact.version, fact.rule)
    done = state["rules"].get(key, {"count": fact.batch_count, "done": []})["done"]
    rule: RuleProgress = {"count": fact.batch_count, "done": with_index(done, fact.batch)}
    return {**state, "rules": {**state["rules"], key: rule}}
