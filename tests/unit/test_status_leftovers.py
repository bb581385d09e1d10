"""What `dataharvest status` says of files that belong to no set."""

from datetime import timedelta

import pytest

from dataharvest.cli.status_leftovers import print_unusable
from dataharvest.errors import Rejected
from dataharvest.rules.keys import parse_object_key
from dataharvest.rules.standing import State
from dataharvest.status import DeliveryStatus, StatusReport
from tests.unit.test_harvest_verdict import NOW, delivery, report
from tests.unit.test_status_tables import printed


def unusable(number: int = 1, *, tenant: str = "t", age_days: int = 0, rule: str = "r") -> DeliveryStatus:
    failure = {"rule": rule, "message": "It names nothing."}
    came = NOW - timedelta(days=age_days)
    return delivery(number, "rejected", tenant=tenant, file=f"t/\u202e{number}.csv", failure=failure, registered_at=came)


def said_of(found: StatusReport) -> list[str]:
    said: list[str] = []
    print_unusable(said.append, found)
    return said


def test_why_a_file_without_a_set_can_not_be_used_is_said_in_a_sentence() -> None:
    assert said_of(report(State.PUBLISHED, without_set=(unusable(),))) == [
        "\nt/\\u202e1.csv belongs to no set, rule r: It names nothing.\n"
        "  Upload it again under a name that says its kind and date; this one is never read."
    ]


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("accounts_20240328.csv", "into the folder of its tenant"),
        ("bad tenant/accounts_20240328.csv", "into a folder with the name of its tenant"),
        ("t/accounts.csv", "under a name that says its kind and date"),
        ("t/orders_20240328.csv", "under the name of a kind of file that is known"),
        ("t/accounts_20240231.csv", "under a name with a date that exists"),
    ],
)
def test_what_to_do_follows_from_what_is_wrong_with_the_name(key: str, remedy: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_object_key(key, entities=("accounts",))
    tenant = str(refused.value.details.get("tenant", ""))

    [line] = said_of(report(State.PUBLISHED, without_set=(unusable(tenant=tenant, rule=refused.value.rule),)))

    assert f"  Upload it again {remedy}" in line


def test_old_ones_and_those_beyond_a_limit_are_only_counted() -> None:
    found = report(State.PUBLISHED, without_set=(unusable(1, age_days=7), unusable(2, age_days=8)))
    more = "more {} to no set; the newest of the last 7 days are shown, `dataharvest status --json` has them all"

    assert [line.partition(" belongs")[0] for line in said_of(found)[:-1]] == ["\nt/\\u202e1.csv"]
    assert said_of(found)[-1] == f"\n… and 1 {more.format('file that belongs')}"
    cut = found.model_copy(update={"without_set_count": 1_201})
    assert said_of(cut)[-1] == f"\n… and 1,200 {more.format('files that belong')}"


def test_the_table_leaves_old_ones_out_and_counts_them() -> None:
    shown = printed(report(State.PUBLISHED, without_set=(unusable(1), unusable(2, age_days=8))))

    assert "t/\\u202e1.csv" in shown
    assert "t/\\u202e2.csv" not in shown
    assert "… and 1 more file that belongs to no set" in shown


def test_where_only_old_ones_have_arrived_it_is_not_said_that_nothing_has() -> None:
    found = StatusReport(at=NOW, sets=[], deliveries_without_set=[], dead_letter_count=0, dead_letters=[], without_set_count=2)

    assert printed(found).startswith("\n… and 2 more files")
