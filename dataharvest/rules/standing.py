"""Where a set stands and exactly why it is not further: one sentence made from what is stored."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dataharvest.rules.causes import Cause
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing_of_version import of_version
from dataharvest.rules.states import SETTLED, Found, State
from dataharvest.rules.text import counted
from dataharvest.rules.versions import (
    DeliveryView,
    SetView,
    VersionView,
    broken_deliveries,
    in_progress,
    is_made_of,
    is_publishing,
    newest_complete,
)

__all__ = ["SETTLED", "Standing", "State", "standing"]

NO_NOTES: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a set stands."""

    state: State
    version: int | None
    """Newest set version; None before the first."""
    waits_for: tuple[str, ...]
    """Entities, rules, or what else has to come; empty when published."""
    reason: str
    """Why it is not further, one sentence."""
    cause: Cause


def standing(
    view: SetView,
    *,
    required: Collection[str],
    rules: Collection[Rule],
    quarantine_threshold: int = 0,
    failure: Mapping[str, Any] | None = None,
    problem: Mapping[str, Any] | None = None,
    notes: Mapping[int, str] = NO_NOTES,
) -> Standing:
    """Where the set stands.

    Args:
        view: deliveries in any state, and versions, oldest first.
        required: entities without which the set is not complete.
        rules: every rule of the journey.
        quarantine_threshold: records of one delivery that may be in quarantine without holding the set up.
        failure: why the newest version is blocked.
        problem: what is wrong with the set's control totals.
        notes: by delivery, what it is doing, for example "3 of 7 chunks stored".
    """
    current = view.versions[-1] if view.versions else None
    found = _before_a_version(view, current, required=required, quarantine_threshold=quarantine_threshold, notes=notes)
    if problem and _holds(problem, view, found) and not (current and is_publishing(current, rules=rules)):
        found = _of_problem(problem)
    if found is None:
        assert current is not None
        found = of_version(view, current, rules=rules, failure=failure)
    state, waits_for, reason, cause = found
    stands = _standing_version(view, current) if state in (State.LOADING, State.BLOCKED, State.DISPUTED) else ""
    version = current.version if current else None
    return Standing(state=state, version=version, waits_for=waits_for, reason=f"{reason}{stands}.", cause=cause)


def _before_a_version(
    view: SetView,
    current: VersionView | None,
    *,
    required: Collection[str],
    quarantine_threshold: int,
    notes: Mapping[int, str],
) -> Found | None:
    """What keeps the newest files from being a version; None when they are one."""
    newest = newest_complete(view.deliveries)
    moving = in_progress(view.deliveries)
    absent = sorted(set(required) - set(newest) - {one.entity for one in moving})
    absences = [_absence(entity, view.deliveries) for entity in absent]
    if broken := broken_deliveries(view.deliveries):
        entities = sorted(one.entity for one in broken)
        lost = [f"{one.entity}: {notes.get(one.delivery_id, 'records are unaccounted for')}" for one in broken]
        waits_for = tuple(f"conservation of {entity}" for entity in entities)
        return Found(State.BLOCKED, waits_for, "; ".join(sorted(lost)), Cause.RECORDS_UNACCOUNTED)
    if moving:
        doing = [f"{one.entity}: {notes.get(one.delivery_id, one.state)}" for one in sorted(moving, key=lambda one: one.entity)]
        waits_for = (*sorted({one.entity for one in moving}), *absent)
        return Found(State.LOADING, waits_for, "; ".join([*doing, *absences]), Cause.DELIVERY_MOVES)
    if dirty := sorted(one.entity for one in newest.values() if one.open_quarantine > quarantine_threshold):
        held = [_quarantine(newest[entity]) for entity in dirty]
        waits_for = (*(f"quarantine of {entity}" for entity in dirty), *absent)
        return Found(State.BLOCKED, waits_for, "; ".join([*held, *absences]), Cause.QUARANTINE)
    if absent:
        return Found(State.INCOMPLETE, tuple(absent), "; ".join(absences), Cause.FILE_MISSING)
    chosen = {entity: one.delivery_id for entity, one in newest.items()}
    if current is None or not is_made_of(current, chosen, edition=view.edition) or current.state == "cancelled":
        number = current.version + 1 if current else 1
        reason = f"all files are stored, version {number} is about to be made"
        return Found(State.READY, (f"version {number}",), reason, Cause.VERSION_DUE)
    return None


def _holds(problem: Mapping[str, Any], view: SetView, found: Found | None) -> bool:
    """Whether the problem is about the newest files; with others it is about to be decided again."""
    chosen = {entity: one.delivery_id for entity, one in newest_complete(view.deliveries).items()}
    return (found is None or found[0] is State.READY) and problem.get("deliveries") == chosen


_PROBLEMS = {"manifest_required": "manifest", "stored_manifest": "manifest", "contract": "contract"}
"""What has to come, where it is not that control totals and files have to agree."""


def _of_problem(problem: Mapping[str, Any]) -> Found:
    message = str(problem.get("message", "no reason kept"))
    waits_for = (_PROBLEMS.get(str(problem.get("rule")), "control totals"),)
    match problem.get("state"):
        case "waits":
            return Found(State.INCOMPLETE, waits_for, message, Cause.MANIFEST_MISSING)
        case "disputed":
            return Found(State.DISPUTED, waits_for, message, Cause.CONTROL_TOTALS_DISPUTED)
    cause = Cause.CONTRACT_UNREADABLE if problem.get("rule") == "contract" else Cause.CONTROL_TOTALS
    return Found(State.BLOCKED, waits_for, message, cause)


def _absence(entity: str, deliveries: Iterable[DeliveryView]) -> str:
    rejected = any(one.entity == entity and one.state == "rejected" for one in deliveries)
    return f"{entity} was rejected" if rejected else f"{entity} has not arrived"


def _quarantine(delivery: DeliveryView) -> str:
    count = delivery.open_quarantine
    return f"{counted(count, 'record')} of {delivery.entity} {'is' if count == 1 else 'are'} in quarantine"


def _standing_version(view: SetView, current: VersionView | None) -> str:
    published = [one.version for one in view.versions if one.state == "published"]
    return f"; version {published[-1]} is published and stands" if current and published else ""
