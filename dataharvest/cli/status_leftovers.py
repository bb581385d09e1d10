"""What `dataharvest status` says of files that belong to no set: those that came lately, and how many more there are."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from dataharvest.rules.text import visible
from dataharvest.status import LEFTOVER_DAYS

if TYPE_CHECKING:
    from dataharvest.status import DeliveryStatus, StatusReport

_REMEDIES = {
    "tenant_name": "Upload it again into a folder with the name of its tenant",
    "unknown_entity": "Upload it again under the name of a kind of file that is known",
    "impossible_date": "Upload it again under a name with a date that exists",
}
"""By the rule that the file's name broke."""
_INTO_A_FOLDER = "Upload it again into the folder of its tenant, under a name that says its kind and date"
_UNDER_A_NAME = "Upload it again under a name that says its kind and date"


def latest_unusable(report: "StatusReport") -> "list[DeliveryStatus]":
    """Files without a set that came so lately that somebody may not know of them yet."""
    oldest = report.at - timedelta(days=LEFTOVER_DAYS)
    return [one for one in report.deliveries_without_set if one.registered_at >= oldest]


def unusable_count(report: "StatusReport") -> int:
    """How many files without a set there are in all."""
    return len(report.deliveries_without_set) if report.without_set_count is None else report.without_set_count


def print_unusable(show: Callable[..., None], report: "StatusReport") -> None:
    """Why the latest files that belong to no set can't be used, and what to do about each."""
    for one in latest_unusable(report):
        failure = one.failure or {}
        said = visible(f"{one.file} belongs to no set, rule {failure.get('rule')}: {failure.get('message')}".rstrip("."))
        show(f"\n{said}.\n  {_remedy(one)}; this one is never read.")
    print_more_unusable(show, report)


def print_more_unusable(show: Callable[..., None], report: "StatusReport") -> None:
    """How many files without a set are not shown, if any."""
    if more := unusable_count(report) - len(latest_unusable(report)):
        files = "file that belongs" if more == 1 else "files that belong"
        lately = f"the newest of the last {LEFTOVER_DAYS} days are shown"
        show(f"\n… and {more:,} more {files} to no set; {lately}, `dataharvest status --json` has them all")


def _remedy(one: "DeliveryStatus") -> str:
    rule = (one.failure or {}).get("rule", "")
    return _REMEDIES.get(rule, _UNDER_A_NAME if one.tenant else _INTO_A_FOLDER)
