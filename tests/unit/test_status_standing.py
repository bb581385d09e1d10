"""Where a set stands, for every state, from what is stored."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

from dataharvest.rules.causes import Cause
from dataharvest.rules.needs import Rule, Work
from dataharvest.rules.standing import SETTLED, Standing, State, standing
from dataharvest.rules.versions import DeliveryView, SetView, VersionView

ENTITIES = ("accounts", "clients")
RELATE = Rule(
    name="relationship",
    needs=frozenset({"accounts_persisted", "clients_persisted"}),
    provides="relation_established",
    work=Work.RELATE,
)
TAX = Rule(name="tax", needs=frozenset({"relation_established"}), provides="tax", work=Work.TRANSFORM)
PUBLISH = Rule(name="outbound.clients", needs=frozenset({"tax"}), provides="clients_published", work=Work.PUBLISH)
RULES = [RELATE, TAX, PUBLISH]
PERSISTED = frozenset({"accounts_persisted", "clients_persisted"})
_minutes = count()


def delivery(identity: int, entity: str, state: str = "complete", *, quarantine: int = 0) -> DeliveryView:
    return DeliveryView(
        delivery_id=identity,
        entity=entity,
        state=state,
        last_modified=datetime(2024, 3, 28, 12, next(_minutes) % 60, tzinfo=UTC),
        object_key=f"t/{entity}_20240328.csv",
        open_quarantine=quarantine,
    )


def version(
    number: int = 1, state: str = "open", *, accounts: int = 1, facts: frozenset[str] = PERSISTED, announced: str = ""
) -> VersionView:
    deliveries = {"accounts": accounts, "clients": 2}
    return VersionView(version=number, state=state, deliveries=deliveries, facts=facts, announced=frozenset(announced.split()))


def stands(*deliveries: DeliveryView, versions: tuple[VersionView, ...] = (), failure: dict[str, str] | None = None) -> Standing:
    view = SetView(deliveries=deliveries, versions=versions)
    return standing(view, required=ENTITIES, rules=RULES, failure=failure, notes={1: "3 of 7 chunks stored"})


def both() -> tuple[DeliveryView, DeliveryView]:
    return delivery(1, "accounts"), delivery(2, "clients")


def test_a_set_of_which_nothing_has_arrived_is_incomplete() -> None:
    assert stands() == Standing(
        state=State.INCOMPLETE,
        version=None,
        waits_for=ENTITIES,
        reason="accounts has not arrived; clients has not arrived.",
        cause=Cause.FILE_MISSING,
    )


def test_a_set_that_lacks_a_file_is_incomplete_and_names_it() -> None:
    found = stands(delivery(1, "accounts"))
    assert (found.state, found.waits_for, found.reason) == (State.INCOMPLETE, ("clients",), "clients has not arrived.")


def test_a_rejected_file_is_missing_and_that_is_said() -> None:
    found = stands(delivery(1, "accounts"), delivery(2, "clients", "rejected"))
    assert (found.state, found.reason) == (State.INCOMPLETE, "clients was rejected.")


def test_a_set_is_loading_while_a_file_moves_and_says_what_else_is_missing() -> None:
    found = stands(delivery(1, "accounts", "splitting"))
    assert found.state is State.LOADING
    assert found.waits_for == ("accounts", "clients")
    assert found.reason == "accounts: 3 of 7 chunks stored; clients has not arrived."


def test_a_file_that_is_stuck_does_not_move_a_set_whose_newer_file_is_complete() -> None:
    stuck, clients, newer = delivery(1, "accounts", "sealed"), delivery(2, "clients"), delivery(3, "accounts")
    assert stands(stuck, clients, newer, versions=(version(state="published", accounts=3),)).state is State.PUBLISHED
    assert stands(stuck, clients, newer).waits_for == ("version 1",)
    assert stands(newer, clients, replace(stuck, last_modified=newer.last_modified, delivery_id=4)).state is State.LOADING


def test_a_set_whose_edition_was_raised_is_about_to_have_a_new_version() -> None:
    published = replace(version(1, "published"), edition=1)
    raised = SetView(deliveries=both(), versions=(published,), edition=2)
    assert standing(raised, required=ENTITIES, rules=RULES).waits_for == ("version 2",)
    assert standing(replace(raised, edition=1), required=ENTITIES, rules=RULES).state is State.PUBLISHED


def test_quarantined_records_block_a_set_and_are_counted() -> None:
    found = stands(delivery(1, "accounts", quarantine=2), delivery(2, "clients", quarantine=1))
    assert (found.state, found.waits_for) == (State.BLOCKED, ("quarantine of accounts", "quarantine of clients"))
    assert found.reason == "2 records of accounts are in quarantine; 1 record of clients is in quarantine."


def test_a_set_is_blocked_rather_than_incomplete_when_it_is_both() -> None:
    found = stands(delivery(1, "accounts", quarantine=1))
    assert (found.state, found.waits_for) == (State.BLOCKED, ("quarantine of accounts", "clients"))
    assert "clients has not arrived" in found.reason


def test_a_newer_clean_file_ends_the_block() -> None:
    assert stands(delivery(1, "accounts", quarantine=1), delivery(3, "accounts"), delivery(2, "clients")).state is State.READY


def test_a_set_with_all_files_and_no_version_is_ready() -> None:
    found = stands(*both())
    assert (found.state, found.version, found.waits_for) == (State.READY, None, ("version 1",))


def test_a_version_that_is_not_related_is_ready() -> None:
    found = stands(*both(), versions=(version(announced="relationship"),))
    assert (found.state, found.version, found.waits_for) == (State.READY, 1, ("relationship",))


def test_a_version_that_does_without_a_file_is_ready_until_it_is_related() -> None:
    found = stands(*both(), versions=(version(facts=PERSISTED | {"transactions_persisted"}, announced="relationship"),))
    assert (found.state, found.waits_for) == (State.READY, ("relationship",))


def test_a_related_version_is_transforming_until_all_values_are_there() -> None:
    found = stands(*both(), versions=(version(facts=PERSISTED | {"relation_established"}, announced="relationship tax"),))
    assert (found.state, found.waits_for, found.reason) == (State.TRANSFORMING, ("tax",), "version 1 lacks tax.")


def test_a_version_whose_messages_are_announced_is_publishing() -> None:
    facts = PERSISTED | {"relation_established", "tax"}
    found = stands(*both(), versions=(version(facts=facts, announced="relationship tax outbound.clients"),))
    assert (found.state, found.waits_for) == (State.PUBLISHING, ("outbound.clients",))


def test_a_version_waits_for_an_older_one_that_is_publishing() -> None:
    facts = PERSISTED | {"relation_established", "tax"}
    older = version(1, facts=facts, announced="outbound.clients")
    newer = version(2, accounts=3, facts=facts)
    found = stands(delivery(3, "accounts"), delivery(2, "clients"), versions=(older, newer))
    assert (found.state, found.waits_for) == (State.TRANSFORMING, ("version 1",))
    assert found.reason == "version 1 finishes publishing first."


def test_a_published_version_of_the_newest_files_is_the_end() -> None:
    assert stands(*both(), versions=(version(state="published"),)) == Standing(
        state=State.PUBLISHED, version=1, waits_for=(), reason="version 1 is published.", cause=Cause.NOTHING
    )


def test_a_correction_makes_a_published_set_load_again_while_its_version_stands() -> None:
    found = stands(*both(), delivery(3, "accounts", "sealed"), versions=(version(state="published"),))
    assert (found.state, found.reason) == (State.LOADING, "accounts: sealed; version 1 is published and stands.")


def test_a_complete_correction_makes_a_new_version_due() -> None:
    found = stands(*both(), delivery(3, "accounts"), versions=(version(state="published"),))
    assert (found.state, found.version, found.waits_for) == (State.READY, 1, ("version 2",))


def test_a_correction_in_quarantine_blocks_while_the_published_version_stands() -> None:
    found = stands(*both(), delivery(3, "accounts", quarantine=1), versions=(version(state="published"),))
    assert found.state is State.BLOCKED
    assert found.reason == "1 record of accounts is in quarantine; version 1 is published and stands."


def test_a_rejected_correction_changes_nothing() -> None:
    found = stands(*both(), delivery(3, "accounts", "rejected"), versions=(version(state="published"),))
    assert found.state is State.PUBLISHED


def test_a_blocked_version_gives_its_reason() -> None:
    failure = {"rule": "orphans", "message": "3 portfolios without a client"}
    found = stands(*both(), versions=(version(state="blocked"),), failure=failure)
    assert (found.state, found.waits_for) == (State.BLOCKED, ("orphans",))
    assert found.reason == "version 1 is blocked by orphans: 3 portfolios without a client."


def test_only_what_lasts_by_itself_is_settled() -> None:
    assert {"incomplete", "blocked", "disputed", "published"} == SETTLED


def test_a_delivery_that_does_not_add_up_blocks_the_set_until_a_newer_one_replaces_it() -> None:
    accounts, clients = both()
    broken = replace(delivery(1, "accounts", "judging"), is_broken=True)
    found = stands(broken, clients)
    assert (found.state, found.waits_for) == (State.BLOCKED, ("conservation of accounts",))
    replaced = stands(broken, replace(accounts, delivery_id=4, last_modified=accounts.last_modified.replace(year=2025)), clients)
    assert replaced.state is not State.BLOCKED
