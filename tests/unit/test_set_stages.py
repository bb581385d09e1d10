"""The journey of a set as a picture: each stage with its count and how far it is."""

from datetime import date
from typing import Any

import pytest

from dataharvest.rules.attention import attention_order, urgency
from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import State
from dataharvest.set_details import StageState, VersionStatus
from dataharvest.set_stages import stages_of
from dataharvest.set_timeline import BatchMoments, timeline_of
from dataharvest.status import Counts, RuleStatus, SetStatus
from tests.unit.test_harvest_verdict import NOW, delivery

DAY = date(2024, 3, 28)
RELATE, TRANSFORM = ["relationship"], ["tax", "deposits"]
VERSION = VersionStatus(
    version=1, state="open", created_at=NOW, published_at=None, failure=None, deliveries={"accounts": 1}, facts={},
    message_count=5, sent_count=2, values={},
)  # fmt: skip


def a_set(state: State, cause: Cause, **fields: Any) -> SetStatus:
    values: dict[str, Any] = {
        "tenant": "t", "business_date": DAY, "state": state, "version": None, "published_at": None, "waits_for": [],
        "reason": "so it is.", "counts": Counts(), "warnings": [], "orphans": [], "rules": [], "deliveries": [], "cause": cause,
    }  # fmt: skip
    return SetStatus(**{**values, **fields})


def told(one: SetStatus, *versions: VersionStatus) -> dict[str, tuple[StageState, int, int | None, str]]:
    found = stages_of(one, versions, relate=RELATE, transform=TRANSFORM)
    return {stage.name: (stage.state, stage.done, stage.total, stage.note) for stage in found}


def test_nothing_has_begun_of_a_set_of_which_nothing_has_arrived() -> None:
    found = told(a_set(State.INCOMPLETE, Cause.FILE_MISSING, missing_files={"accounts": "t/a.csv", "clients": "t/c.csv"}))

    assert {state for state, *_ in found.values()} == {StageState.TODO}
    assert found["arrived"][1:3] == (0, 2)
    assert list(found) == ["arrived", "stored", "kept", "linked", "computed", "published"]


def test_a_rejected_file_holds_up_its_arrival() -> None:
    refused = delivery(1, "rejected")
    found = told(a_set(State.INCOMPLETE, Cause.FILE_MISSING, missing_files={"accounts": "t/a.csv"}, deliveries=[refused]))

    assert found["arrived"] == (StageState.BLOCKED, 0, 1, "1 rejected")


def test_chunks_of_a_file_that_is_being_read_are_under_way() -> None:
    moving = delivery(1, "splitting", counts=Counts(read=30, persisted=30), completed_at=None)
    one = a_set(State.LOADING, Cause.DELIVERY_MOVES, deliveries=[moving], stored_chunk_count=3, chunk_count=7)

    assert told(one)["stored"][:3] == (StageState.ACTIVE, 3, 7)
    assert told(one)["kept"][:3] == (StageState.ACTIVE, 30, 30)


def test_a_paused_tenant_is_held_up_where_it_waits() -> None:
    moving = delivery(1, "registered", completed_at=None)
    one = a_set(State.LOADING, Cause.DELIVERY_MOVES, deliveries=[moving], pause_reason="")

    assert told(one)["stored"][0] is StageState.BLOCKED
    assert told(one)["stored"][3] == "paused"


def test_quarantine_holds_up_what_is_kept_and_the_version_that_stands_is_named() -> None:
    spoilt = delivery(1, counts=Counts(read=4, persisted=3, quarantined=1), open_quarantine=1)
    one = a_set(State.BLOCKED, Cause.QUARANTINE, deliveries=[spoilt], version=1, stored_chunk_count=1, chunk_count=1)

    found = told(one, VERSION)
    assert found["kept"] == (StageState.BLOCKED, 3, 4, "1 in quarantine")
    assert found["published"] == (StageState.TODO, 0, None, "version 1 stands")


def test_values_are_done_only_when_every_transformer_has_planned_and_done_its_batches() -> None:
    some = [RuleStatus(rule="relationship", done=1, batch_count=1), RuleStatus(rule="tax", done=2, batch_count=2)]
    one = a_set(State.TRANSFORMING, Cause.COMPUTING, version=1, rules=some)
    more = one.model_copy(update={"rules": [*some, RuleStatus(rule="deposits", done=2, batch_count=2)]})

    assert told(one, VERSION)["linked"][0] is StageState.DONE
    assert told(one, VERSION)["computed"][:3] == (StageState.ACTIVE, 2, None)
    assert told(more, VERSION)["computed"][:3] == (StageState.DONE, 4, 4)


def test_messages_are_counted_and_a_version_without_any_is_done_too() -> None:
    going = told(a_set(State.PUBLISHING, Cause.GOING_OUT, version=1), VERSION)
    out = told(a_set(State.PUBLISHED, Cause.NOTHING, version=1), VERSION.model_copy(update={"message_count": 0, "sent_count": 0}))

    assert going["published"][:3] == (StageState.ACTIVE, 2, 5)
    assert out["published"] == (StageState.DONE, 0, 0, "nothing has changed")


def test_the_timeline_has_everything_with_the_newest_first() -> None:
    hours = [NOW.replace(hour=hour) for hour in range(8)]
    row = {
        "delivery_id": 7, "entity": "accounts", "object_key": "t/a.csv", "state": "complete", "registered_at": hours[0],
        "sealed_at": hours[1], "completed_at": hours[2], "last_chunk_at": hours[1], "chunk_count": 1,
    }  # fmt: skip
    version = VERSION.model_copy(update={"created_at": hours[3], "published_at": hours[6]})
    batches = BatchMoments(1, "tax", hours[4], hours[5], 2, 2)

    found = timeline_of(a_set(State.PUBLISHED, Cause.NOTHING, late_at=hours[7]), [row], [version], [batches])

    assert [moment.what for moment in found] == [
        "late",
        "version 1 published",
        "tax done",
        "tax begun",
        "version 1 made",
        "accounts complete",
        "accounts stored",
        "accounts arrived",
    ]
    assert found[-2].detail == "delivery 7, 1 chunk"
    going = {**row, "sealed_at": None, "completed_at": None}
    [stored, _] = timeline_of(a_set(State.LOADING, Cause.DELIVERY_MOVES), [going], [], [])
    assert stored.detail == "delivery 7, 1 chunk so far"


@pytest.mark.parametrize(
    ("state", "late", "expected"),
    [
        (State.BLOCKED, False, 0),
        (State.DISPUTED, True, 0),
        (State.LOADING, True, 1),
        (State.INCOMPLETE, True, 1),
        (State.INCOMPLETE, False, 2),
        (State.LOADING, False, None),
        (State.PUBLISHED, True, None),
    ],
)
def test_who_waits_for_somebody(state: State, late: bool, expected: int | None) -> None:
    assert urgency(state, late=late) == expected


def test_a_set_whose_files_nobody_may_read_waits_for_somebody() -> None:
    assert urgency(State.LOADING, late=False, held=True) == 1


def test_the_urgent_come_first_then_the_newest_then_by_name() -> None:
    sets = [
        (State.INCOMPLETE, DAY, "a"),
        (State.BLOCKED, DAY.replace(day=1), "a"),
        (State.BLOCKED, DAY, "b"),
        (State.BLOCKED, DAY, "a"),
    ]

    def order(one: tuple[State, date, str]) -> tuple[int, int, str]:
        return attention_order(urgency(one[0], late=False) or 0, business_date=one[1], tenant=one[2])

    ordered = sorted(sets, key=order)

    assert ordered == [sets[3], sets[2], sets[1], sets[0]]
