"""When a set version is due, and what of it may be announced."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.versions import (
    IN_PROGRESS,
    DeliveryView,
    SetView,
    VersionView,
    announcements,
    due_in_s,
    due_version,
    is_published,
    is_publishing,
    newest_complete,
)

REQUIRED = ("accounts", "clients")
START = datetime(2026, 11, 23, tzinfo=UTC)
RULES = tuple(all_rules().values())
RELATED = frozenset({"relation_established", "tax", "transactions", "sum_of_deposits"})


def delivery(number: int, entity: str, state: str = "complete", *, at_s: float = 0, bad: int = 0) -> DeliveryView:
    return DeliveryView(
        delivery_id=number,
        entity=entity,
        state=state,
        last_modified=START + timedelta(seconds=at_s),
        object_key=f"t/{entity}_20261123.csv",
        open_quarantine=bad,
    )


def version(number: int, deliveries: dict[str, int] | None = None, **changes: Any) -> VersionView:
    view = VersionView(
        version=number, state="open", deliveries=deliveries or {}, facts=frozenset(), announced=frozenset()
    )  # fmt: skip
    return replace(view, **changes)


A, C = delivery(1, "accounts"), delivery(2, "clients")
NEW_A = delivery(3, "accounts", at_s=5)
OLD, NEW = {"accounts": 1, "clients": 2}, {"accounts": 3, "clients": 2}
FIRST = version(1, OLD)


@pytest.mark.parametrize(
    ("what", "deliveries", "versions", "expected"),
    [
        ("nothing is there", [], [], None),
        ("an entity is missing", [A], [], None),
        ("an entity is not complete", [A, delivery(2, "clients", "sealed")], [], None),
        ("the first at once", [A, C], [], {"accounts": 1, "clients": 2}),
        ("the first although another is in progress", [A, C, delivery(3, "accounts", "splitting", at_s=9)], [], OLD),
        ("the first waits for what need not come and is being read", [A, C, delivery(5, "notes", "splitting")], [], None),
        ("but not for what need not come and can't be read", [A, C, delivery(5, "notes", "waiting")], [], OLD),
        ("the first takes the newest", [A, C, NEW_A], [], {"accounts": 3, "clients": 2}),
        ("blocked by quarantine", [A, delivery(2, "clients", bad=1)], [], None),
        ("not blocked by the quarantine of an older one", [delivery(1, "accounts", bad=3), C, NEW_A], [], NEW),
        ("blocked by the quarantine of the newest", [A, C, delivery(3, "accounts", at_s=5, bad=1)], [FIRST], None),
        ("nothing new", [A, C], [FIRST], None),
        ("a correction", [A, C, NEW_A], [FIRST], {"accounts": 3, "clients": 2}),
        ("a correction waits for what is registered", [A, C, NEW_A, delivery(4, "clients", "registered", at_s=6)], [FIRST], None),
        ("a correction does not wait for what waits itself", [A, C, NEW_A, delivery(4, "clients", "waiting", at_s=6)], [FIRST],
         {"accounts": 3, "clients": 2}),
        ("a correction waits for what is sealed", [A, C, NEW_A, delivery(4, "clients", "sealed", at_s=6)], [FIRST], None),
        ("not held by an older one of it that is stuck", [A, C, NEW_A, delivery(4, "accounts", "sealed", at_s=4)], [FIRST],
         NEW),
        ("nor by one whose judgement is stuck", [A, C, NEW_A, delivery(4, "accounts", "judging", at_s=4)], [FIRST], NEW),
        ("held by a newer one of its entity", [A, C, NEW_A, delivery(4, "accounts", "judging", at_s=6)], [FIRST], None),
        ("an older delivery that completes late", [A, C, delivery(4, "accounts", at_s=-5)], [FIRST], None),
        ("an entity that is not required comes along", [A, C, delivery(5, "notes")], [FIRST], {**OLD, "notes": 5}),
        ("only the last version counts", [A, C, NEW_A], [FIRST, version(2, {"accounts": 3, "clients": 2})], None),
        ("back to the first content", [delivery(9, "accounts", at_s=9), C], [FIRST, version(2, {"accounts": 3, "clients": 2})],
         {"accounts": 9, "clients": 2}),
    ],
)  # fmt: skip
def test_a_version_is_due(
    what: str, deliveries: list[DeliveryView], versions: list[VersionView], expected: dict[str, int] | None
) -> None:
    view = SetView(deliveries=tuple(deliveries), versions=tuple(versions))
    assert due_version(view, required=REQUIRED) == expected, what


@pytest.mark.parametrize(
    ("versions", "since_seal_s", "due", "due_in"),
    [
        ([], 0.0, NEW, None),
        ([FIRST], 0.0, None, 5.0),
        ([FIRST], 4.5, None, 0.5),
        ([FIRST], 5.0, NEW, None),
        ([version(1, NEW)], 0.0, None, None),
    ],
)
def test_a_later_version_is_due_once_the_set_has_settled(
    versions: list[VersionView], since_seal_s: float, due: dict[str, int] | None, due_in: float | None
) -> None:
    view = SetView(deliveries=(A, C, NEW_A), versions=tuple(versions), since_seal_s=since_seal_s)
    assert due_version(view, required=REQUIRED, settle_s=5) == due
    assert due_in_s(view, required=REQUIRED, settle_s=5) == due_in


@pytest.mark.parametrize(
    ("what", "edition", "made_from", "more", "expected"),
    [
        ("made from this edition", 2, 2, [], None),
        ("the edition was raised", 3, 2, [], OLD),
        ("raised while a file is being read", 3, 2, [delivery(7, "clients", "sealed", at_s=9)], None),
        ("raised, and records are in quarantine", 3, 2, [delivery(7, "clients", at_s=9, bad=1)], None),
        ("raised, with a correction", 3, 2, [NEW_A], NEW),
    ],
)
def test_a_version_is_due_without_a_new_delivery_once_the_edition_was_raised(
    what: str, edition: int, made_from: int, more: list[DeliveryView], expected: dict[str, int] | None
) -> None:
    versions = (version(1, OLD, edition=1), version(2, OLD, edition=made_from))
    view = SetView(deliveries=(A, C, *more), versions=versions, edition=edition)
    assert due_version(view, required=REQUIRED) == expected, what


def test_as_many_quarantined_records_as_the_contract_allows_hold_nobody_up() -> None:
    view = SetView(deliveries=(A, delivery(2, "clients", bad=3)), versions=())
    assert due_version(view, required=REQUIRED, quarantine_threshold=3) == OLD
    assert due_version(view, required=REQUIRED, quarantine_threshold=2) is None


@pytest.mark.parametrize("state", ["sealed", "judging"])
def test_what_does_not_add_up_holds_the_set_up_until_it_is_replaced(state: str) -> None:
    broken = replace(delivery(7, "accounts", state, at_s=9), is_broken=True)
    later = delivery(8, "accounts", at_s=10)
    for versions in ((), (FIRST,)):
        assert due_version(SetView(deliveries=(A, C, broken), versions=versions), required=REQUIRED) is None
        replaced = SetView(deliveries=(A, C, broken, later), versions=versions)
        assert due_version(replaced, required=REQUIRED) == {"accounts": 8, "clients": 2}


@given(st.permutations([A, C, NEW_A, delivery(4, "clients", "sealed", at_s=9), delivery(5, "accounts", at_s=5)]))
def test_the_choice_does_not_depend_on_the_order_of_rows(deliveries: list[DeliveryView]) -> None:
    chosen = newest_complete(deliveries)
    assert {entity: one.delivery_id for entity, one in chosen.items()} == {"accounts": 5, "clients": 2}


@pytest.mark.parametrize("state", sorted(IN_PROGRESS - {"waiting"}))
def test_a_later_version_waits_while_anything_is_being_read(state: str) -> None:
    view = SetView(deliveries=(A, C, NEW_A, delivery(7, "clients", state)), versions=(FIRST,))
    assert due_version(view, required=REQUIRED) is None


def names(*versions: VersionView) -> list[tuple[int, str]]:
    return [(number, rule.name) for number, rule in announcements(SetView(deliveries=(), versions=versions), rules=RULES)]


PERSISTED = frozenset(f"{one}_persisted" for one in ("accounts", "clients", "portfolios", "transactions"))


@pytest.mark.parametrize(
    ("what", "versions", "expected"),
    [
        ("no version", [], []),
        ("all stored", [version(1, facts=PERSISTED)], [(1, RELATIONSHIP)]),
        ("announced before", [version(1, facts=PERSISTED, announced=frozenset({RELATIONSHIP}))], []),
        ("cancelled", [version(1, facts=PERSISTED, state="cancelled")], []),
        ("blocked", [version(1, facts=PERSISTED, state="blocked")], []),
        ("a blocked one does not hold up the next", [version(1, state="blocked", announced=frozenset({"outbound.clients"})),
                                                     version(2, facts=RELATED, announced=RELATED)],
         [(2, "outbound.clients"), (2, "outbound.portfolios")]),
        ("an older one is publishing", [version(1, facts=RELATED, announced=frozenset({"outbound.clients", *RELATED})),
                                        version(2, facts=RELATED, announced=RELATED)],
         [(1, "outbound.portfolios")]),
        ("an older one is publishing, computing goes on", [version(1, announced=frozenset({"outbound.clients"})),
                                                           version(2, facts=frozenset({"relation_established"}))],
         [(2, "sum_of_deposits"), (2, "tax"), (2, "transactions")]),
        ("the older one is out", [version(1, state="published", announced=frozenset({"outbound.clients"})),
                                  version(2, facts=RELATED, announced=RELATED)],
         [(2, "outbound.clients"), (2, "outbound.portfolios")]),
    ],
)  # fmt: skip
def test_announcements(what: str, versions: list[VersionView], expected: list[tuple[int, str]]) -> None:
    assert names(*versions) == expected, what


def test_publishing_begins_with_the_first_announcement_and_ends_with_the_last_fact() -> None:
    begun = version(1, facts=RELATED, announced=frozenset({"outbound.clients"}))
    assert not is_publishing(version(1, facts=RELATED), rules=RULES)
    assert is_publishing(begun, rules=RULES)
    assert not is_published(replace(begun, facts=RELATED | {"clients_published"}), rules=RULES)
    assert is_published(replace(begun, facts=RELATED | {"clients_published", "portfolios_published"}), rules=RULES)
