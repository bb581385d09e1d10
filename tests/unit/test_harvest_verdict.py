"""Exit code and reasons of a harvest."""

from datetime import UTC, date, datetime
from typing import Any

from dataharvest.harvest.verdict import verdict_of
from dataharvest.rules.standing import State
from dataharvest.status import Counts, DeliveryStatus, ManifestStatus, Orphans, Quarantined, SetStatus, StatusReport

NOW = datetime(2024, 3, 28, tzinfo=UTC)
WAY_OUT = (
    "2024-03-28: `dataharvest quarantine list --tenant t --date 2024-03-28` shows what is in quarantine; "
    "`quarantine fix` repairs it, `accept` leaves it out"
)


def delivery(identity: int = 1, state: str = "complete", **fields: Any) -> DeliveryStatus:
    values: dict[str, Any] = {
        "delivery_id": identity, "tenant": "t", "business_date": date(2024, 3, 28), "entity": "accounts", "file": "t/a.csv",
        "state": state, "counts": Counts(), "stored_chunk_count": 1, "chunk_count": 1, "open_quarantine": 0, "quarantined": [],
        "ignored_columns": [], "repeat_of": None, "failure": None, "registered_at": NOW, "completed_at": NOW,
    }  # fmt: skip
    return DeliveryStatus(**{**values, **fields})


def quarantine(count: int, *, shown: int) -> dict[str, Any]:
    records = [
        Quarantined(line=line, byte_offset=line * 10, column="amount", rule="money", message="amount is no amount.")
        for line in range(2, 2 + shown)
    ]
    return {"open_quarantine": count, "quarantined": records}


def report(
    state: State, *deliveries: DeliveryStatus, without_set: tuple[DeliveryStatus, ...] = (), **fields: Any
) -> StatusReport:
    values: dict[str, Any] = {
        "tenant": "t", "business_date": date(2024, 3, 28), "state": state, "version": 1, "published_at": None, "waits_for": [],
        "reason": "so it is.", "counts": Counts(), "warnings": [], "orphans": [], "rules": [], "deliveries": list(deliveries),
    }  # fmt: skip
    one = SetStatus(**{**values, **fields})
    return StatusReport(at=NOW, sets=[one], deliveries_without_set=list(without_set), dead_letter_count=0, dead_letters=[])


def test_published_sets_are_0_without_a_problem() -> None:
    verdict = verdict_of(report(State.PUBLISHED, delivery()), uploaded=[1])
    assert (verdict.exit_code, verdict.problems, verdict.remarks) == (0, (), ())


def test_a_rejected_upload_is_3_with_place_and_reason_although_the_set_is_published() -> None:
    failure = {"rule": "missing_column", "message": "No currency.", "line": 1, "column": "currency"}
    verdict = verdict_of(report(State.PUBLISHED, delivery(2, "rejected", failure=failure)), uploaded=[2])
    assert verdict.exit_code == 3
    assert verdict.problems == ("accounts, t/a.csv, line 1, column currency, rejected, rule missing_column: No currency.",)


def test_an_upload_that_does_not_add_up_is_3_with_the_reason() -> None:
    failure = {"rule": "conservation", "message": "2 rows are there, 3 in the ledger"}
    verdict = verdict_of(report(State.BLOCKED, delivery(2, "judging", failure=failure)), uploaded=[2])
    assert (verdict.exit_code, verdict.problems[0]) == (
        3,
        "accounts, t/a.csv, judging, rule conservation: 2 rows are there, 3 in the ledger",
    )


def test_a_rejected_delivery_of_somebody_else_is_not_our_problem() -> None:
    assert verdict_of(report(State.PUBLISHED, delivery(2, "rejected")), uploaded=[1]).exit_code == 0


def test_an_upload_of_no_set_is_reported() -> None:
    failure = {"rule": "unknown_entity", "message": "No such entity."}
    bad = delivery(3, "rejected", entity=None, business_date=None, failure=failure)
    verdict = verdict_of(report(State.PUBLISHED, without_set=(bad,)), uploaded=[3])
    assert verdict.problems == ("unknown entity, t/a.csv, rejected, rule unknown_entity: No such entity.",)


def test_quarantined_records_are_named_one_by_one() -> None:
    verdict = verdict_of(report(State.BLOCKED, delivery(**quarantine(1, shown=1))), uploaded=[1])
    assert verdict.exit_code == 3
    assert verdict.problems == (
        "2024-03-28: blocked: so it is.",
        "accounts, t/a.csv, line 2, column amount, rule money: amount is no amount. (byte 20)",
        WAY_OUT,
    )


def test_after_twenty_lines_the_rest_is_counted() -> None:
    verdict = verdict_of(report(State.BLOCKED, delivery(**quarantine(1_000, shown=20))), uploaded=[1])
    assert len(verdict.problems) == 22
    assert verdict.problems[-2].startswith("… and 981 more")
    assert verdict.problems[-1] == WAY_OUT


def test_an_incomplete_set_says_what_it_waits_for() -> None:
    verdict = verdict_of(report(State.INCOMPLETE, waits_for=["clients", "portfolios"]), uploaded=[])
    assert (verdict.exit_code, verdict.problems) == (3, ("2024-03-28: incomplete: waits for clients, portfolios: so it is.",))


def test_orphans_are_named() -> None:
    orphans = [Orphans(kind="portfolios without a client", count=7, sample=["a", "b"])]
    verdict = verdict_of(report(State.BLOCKED, orphans=orphans), uploaded=[])
    assert verdict.problems[1] == "2024-03-28: 7 portfolios without a client: a, b, …"


def test_what_is_no_problem_is_remarked() -> None:
    found = report(State.PUBLISHED, delivery(ignored_columns=["x", "y"]), warnings=["mixed_currency: look."])
    assert verdict_of(found, uploaded=[1]).remarks == (
        "2024-03-28: warning: mixed_currency: look.",
        "t/a.csv: ignored columns: x, y",
    )


def test_an_unusable_manifest_of_ours_is_3_although_the_set_is_published() -> None:
    failure = {"rule": "invalid_manifest", "message": "line 1: /x is an unknown field"}
    one = ManifestStatus(manifest_id=4, file="t/manifest_20240328.json", state="rejected", failure=failure, registered_at=NOW)
    found = report(State.PUBLISHED, delivery(), manifests=[one])
    verdict = verdict_of(found, uploaded=[1], manifests=[4])
    assert verdict.exit_code == 3
    assert verdict.problems == (
        "manifest, t/manifest_20240328.json, rejected, rule invalid_manifest: line 1: /x is an unknown field",
    )
    assert verdict_of(found, uploaded=[1], manifests=[5]).exit_code == 0


def test_the_equation_of_counts_holds_for_sums() -> None:
    one = Counts(read=10, persisted=4, quarantined=3, duplicate=2, accepted=1)
    total = one + one
    assert total.read == total.persisted + total.quarantined + total.duplicate + total.accepted == 20
