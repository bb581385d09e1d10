"""What a tenant is told, and how its webhook can tell a genuine call from any other."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.causes import Cause
from dataharvest.rules.notifying import blocked_note, blocked_version_note, late_note, pause_after, ready_note
from dataharvest.rules.signing import TOLERANCE_S, is_genuine, signature, tenant_secret
from dataharvest.rules.standing import Standing, State

DAY = date(2026, 11, 23)
KEY = "k" * 32
BODY = b'{"type":"set_ready"}'


def stands(state: State, reason: str = "3 records of accounts are in quarantine.") -> Standing:
    return Standing(state=state, version=None, waits_for=("quarantine of accounts",), reason=reason, cause=Cause.QUARANTINE)


def test_the_same_event_has_the_same_id_and_another_one_another() -> None:
    due = datetime(2026, 11, 23, 18, tzinfo=UTC)
    notes = [
        ready_note("acme", DAY, version=1),
        ready_note("acme", DAY, version=2),
        ready_note("zen", DAY, version=1),
        ready_note("acme", DAY + timedelta(days=1), version=1),
        blocked_version_note("acme", DAY, version=1, failure={"rule": "orphans", "message": "2 orphans"}),
        late_note("acme", DAY, due_at=due),
    ]

    assert len({note.notification_id for note in notes}) == len(notes)
    assert ready_note("acme", DAY, version=1) == notes[0]
    assert (
        late_note("acme", DAY, due_at=due.astimezone(timezone(timedelta(hours=1)))).notification_id == notes[-1].notification_id
    )


@pytest.mark.parametrize("state", State)
def test_blocked_is_told_of_what_somebody_has_to_repair(state: State) -> None:
    note = blocked_note("acme", DAY, stands(state), deliveries={"accounts": 7})

    assert (note is not None) == (state in (State.BLOCKED, State.DISPUTED))


def test_the_same_trouble_is_told_once_and_again_with_another_file() -> None:
    first, fewer, other_file = (
        blocked_note("acme", DAY, stands(State.BLOCKED, reason), deliveries={"accounts": delivery_id})
        for reason, delivery_id in (("3 records", 7), ("2 records", 7), ("3 records", 8))
    )

    assert first
    assert fewer
    assert other_file
    assert first.notification_id == fewer.notification_id != other_file.notification_id


def test_a_webhook_is_called_again_after_longer_and_longer_pauses() -> None:
    assert [pause_after(attempt) for attempt in (1, 2, 3, 12, 10_000)] == [5, 10, 20, 3600, 3600]


@given(body=st.binary(), at_s=st.integers(0, 4_000_000_000), late_s=st.integers(-TOLERANCE_S, TOLERANCE_S))
def test_a_call_is_genuine_for_a_while(body: bytes, at_s: int, late_s: int) -> None:
    secret = tenant_secret(KEY, "acme", number=1)

    assert is_genuine(signature(body, secret=secret, at_s=at_s), body, secret=secret, now_s=at_s + late_s)


def test_a_changed_old_or_foreign_call_is_not_genuine() -> None:
    secret = tenant_secret(KEY, "acme", number=1)
    header = signature(BODY, secret=secret, at_s=1000)

    assert not is_genuine(header, BODY + b" ", secret=secret, now_s=1000)
    assert not is_genuine(header, BODY, secret=secret, now_s=1001 + TOLERANCE_S)
    assert not is_genuine(header.replace("t=1000", "t=1001"), BODY, secret=secret, now_s=1000)
    for other in (
        tenant_secret(KEY, "zen", number=1),
        tenant_secret(KEY, "acme", number=2),
        tenant_secret(KEY + "x", "acme", number=1),
    ):
        assert other != secret
        assert not is_genuine(header, BODY, secret=other, now_s=1000)


@given(header=st.text())
def test_no_header_makes_a_receiver_fall_over(header: str) -> None:
    assert not is_genuine(header, BODY, secret="secret", now_s=0)


@pytest.mark.parametrize(
    "header", ["", "t=1000", "v1=00", "t=1000,t=1000,v1=00", "t=-1,v1=ü", "t=٣,v1=00", f"t={'9' * 5000},v1="]
)
def test_a_header_that_says_nothing_is_not_genuine(header: str) -> None:
    assert not is_genuine(header, BODY, secret="secret", now_s=1000)
