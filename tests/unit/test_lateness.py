"""Which sets are due: between the moment a contract says so and now, on the business days of its calendar."""

from datetime import UTC, date, datetime, timedelta

from dataharvest.contracts import Contract
from dataharvest.rules.lateness import due_sets

CONTRACT = Contract.model_validate(
    {
        "cutoff": {"time": "18:00", "zone": "Europe/Berlin"},
        "calendar": {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "holidays": ["2026-11-18"]},
    }
)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def days(now: datetime, since: datetime, contract: Contract = CONTRACT) -> list[date]:
    return [day for day, _ in due_sets(contract.due_at, now=now, since=since)]


def test_business_days_are_due_once_their_cut_off_has_passed() -> None:
    since = NOON - timedelta(days=7)
    assert days(NOON, since) == [date(2026, 11, day) for day in (16, 17, 19, 20)]
    assert days(NOON.replace(hour=17), since)[-1] == date(2026, 11, 23)
    # 18:00 in Berlin is 17:00 UTC in winter.
    assert days(NOON.replace(hour=16, minute=59), since)[-1] == date(2026, 11, 20)


def test_what_was_due_before_the_contract_said_so_is_left_alone() -> None:
    assert days(NOON, NOON) == []


def test_without_a_cut_off_nothing_is_ever_due() -> None:
    assert days(NOON, NOON - timedelta(days=30), Contract()) == []


def test_a_cut_off_a_month_later_is_not_missed() -> None:
    contract = Contract.model_validate({"cutoff": {"time": "09:00", "zone": "UTC", "days_after": 31}})
    assert days(NOON, NOON - timedelta(days=1), contract) == [date(2026, 10, 23)]


def test_a_day_ahead_in_the_senders_zone_is_looked_at() -> None:
    contract = Contract.model_validate({"cutoff": {"time": "00:30", "zone": "Pacific/Auckland"}})
    assert days(NOON, NOON - timedelta(hours=12), contract)[-1] == date(2026, 11, 24)
