"""Where a set stands and exactly why it is not further: one sentence made from what is stored."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from dataharvest.rules.causes import Cause
from dataharvest.rules.needs import Rule, Work, persisted
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

NO_NOTES: Mapping[int, str] = MappingProxyType({})


class State(StrEnum):
    """How far a set is."""

    INCOMPLETE = "incomplete"
    """A required file has not arrived, and none is on its way."""
    LOADING = "loading"
    """A delivery is being read or stored."""
    BLOCKED = "blocked"
    """Somebody has to repair something."""
    READY = "ready"
    """All files are stored; relating them comes next."""
    TRANSFORMING = "transforming"
    """Records are linked, values are computed."""
    DISPUTED = "disputed"
    """A version is out, and the sender's control totals say something else than the newest files."""
    PUBLISHING = "publishing"
    """Messages go out."""
    PUBLISHED = "published"
    """Every message of the newest files is out."""


SETTLED = frozenset({State.INCOMPLETE, State.BLOCKED, State.DISPUTED, State.PUBLISHED})
"""States that last until another file arrives or somebody repairs something."""


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
        found = _of_version(view, current, rules=rules, failure=failure)
    state, waits_for, reason, cause = found
    stands = _standing_version(view, current) if state in (State.LOADING, State.BLOCKED, State.DISPUTED) else ""
    version = current.version if current else None
    return Standing(state=state, version=version, waits_for=waits_for, reason=f"{reason}{stands}.", cause=cause)


class _Found(NamedTuple):
    state: State
    waits_for: tuple[str, ...]
    reason: str
    cause: Cause


def _before_a_version(
    view: SetView,
    current: VersionView | None,
    *,
    required: Collection[str],
    quarantine_threshold: int,
    notes: Mapping[int, str],
) -> _Found | None:
    """What keeps the newest files from being a version; None when they are one."""
    newest = newest_complete(view.deliveries)
    moving = in_progress(view.deliveries)
    absent = sorted(set(required) - set(newest) - {one.entity for one in moving})
    absences = [_absence(entity, view.deliveries) for entity in absent]
    if broken := broken_deliveries(view.deliveries):
        entities = sorted(one.entity for one in broken)
        lost = [f"{one.entity}: {notes.get(one.delivery_id, 'records are unaccounted for')}" for one in broken]
        waits_for = tuple(f"conservation of {entity}" for entity in entities)
        return _Found(State.BLOCKED, waits_for, "; ".join(sorted(lost)), Cause.RECORDS_UNACCOUNTED)
    if moving:
        doing = [f"{one.entity}: {notes.get(one.delivery_id, one.state)}" for one in sorted(moving, key=lambda one: one.entity)]
        waits_for = (*sorted({one.entity for one in moving}), *absent)
        return _Found(State.LOADING, waits_for, "; ".join([*doing, *absences]), Cause.DELIVERY_MOVES)
    if dirty := sorted(one.entity for one in newest.values() if one.open_quarantine > quarantine_threshold):
        held = [_quarantine(newest[entity]) for entity in dirty]
        waits_for = (*(f"quarantine of {entity}" for entity in dirty), *absent)
        return _Found(State.BLOCKED, waits_for, "; ".join([*held, *absences]), Cause.QUARANTINE)
    if absent:
        return _Found(State.INCOMPLETE, tuple(absent), "; ".join(absences), Cause.FILE_MISSING)
    chosen = {entity: one.delivery_id for entity, one in newest.items()}
    if current is None or not is_made_of(current, chosen, edition=view.edition) or current.state == "cancelled":
        number = current.version + 1 if current else 1
        reason = f"all files are stored, version {number} is about to be made"
        return _Found(State.READY, (f"version {number}",), reason, Cause.VERSION_DUE)
    return None


def _holds(problem: Mapping[str, Any], view: SetView, found: _Found | None) -> bool:
    """Whether the problem is about the newest files; with others it is about to be decided again."""
    chosen = {entity: one.delivery_id for entity, one in newest_complete(view.deliveries).items()}
    return (found is None or found[0] is State.READY) and problem.get("deliveries") == chosen


_PROBLEMS = {"manifest_required": "manifest", "stored_manifest": "manifest", "contract": "contract"}
"""What has to come, where it is not that control totals and files have to agree."""


def _of_problem(problem: Mapping[str, Any]) -> _Found:
    message = str(problem.get("message", "no reason kept"))
    waits_for = (_PROBLEMS.get(str(problem.get("rule")), "control totals"),)
    match problem.get("state"):
        case "waits":
            return _Found(State.INCOMPLETE, waits_for, message, Cause.MANIFEST_MISSING)
        case "disputed":
            return _Found(State.DISPUTED, waits_for, message, Cause.CONTROL_TOTALS_DISPUTED)
    cause = Cause.CONTRACT_UNREADABLE if problem.get("rule") == "contract" else Cause.CONTROL_TOTALS
    return _Found(State.BLOCKED, waits_for, message, cause)


def _of_version(view: SetView, current: VersionView, *, rules: Collection[Rule], failure: Mapping[str, Any] | None) -> _Found:
    if current.state == "published":
        return _Found(State.PUBLISHED, (), f"version {current.version} is published", Cause.NOTHING)
    if current.state == "blocked":
        rule, message = (str((failure or {}).get(name, "no reason kept")) for name in ("rule", "message"))
        reason = f"version {current.version} is blocked by {rule}: {message}"
        return _Found(State.BLOCKED, (rule,), reason, Cause.VERSION_BLOCKED)
    if is_publishing(current, rules=rules):
        outgoing = _undone(rules, current, {Work.PUBLISH})
        reason = f"version {current.version} is going out: {', '.join(outgoing) or 'all but the mark'}"
        return _Found(State.PUBLISHING, outgoing, reason, Cause.GOING_OUT)
    return _of_computing(view, current, rules=rules)


def _of_computing(view: SetView, current: VersionView, *, rules: Collection[Rule]) -> _Found:
    inner = _undone(rules, current, {Work.RELATE, Work.TRANSFORM})
    if not current.facts - set(map(persisted, current.deliveries)):
        reason = f"all files are stored, {', '.join(inner[:1])} of version {current.version} comes next"
        return _Found(State.READY, inner[:1], reason, Cause.RELATING)
    if inner:
        return _Found(State.TRANSFORMING, inner, f"version {current.version} lacks {', '.join(inner)}", Cause.COMPUTING)
    older = [one.version for one in view.versions[:-1] if is_publishing(one, rules=rules)]
    if older:
        reason = f"version {older[-1]} finishes publishing first"
        return _Found(State.TRANSFORMING, (f"version {older[-1]}",), reason, Cause.OLDER_VERSION_GOES_OUT)
    outgoing = _undone(rules, current, {Work.PUBLISH})
    reason = f"version {current.version} is computed and about to go out"
    return _Found(State.TRANSFORMING, outgoing, reason, Cause.ABOUT_TO_GO_OUT)


def _undone(rules: Iterable[Rule], version: VersionView, work: Collection[Work]) -> tuple[str, ...]:
    return tuple(rule.name for rule in rules if rule.work in work and rule.provides not in version.facts)


def _absence(entity: str, deliveries: Iterable[DeliveryView]) -> str:
    rejected = any(one.entity == entity and one.state == "rejected" for one in deliveries)
    return f"{entity} was rejected" if rejected else f"{entity} has not arrived"


def _quarantine(delivery: DeliveryView) -> str:
    count = delivery.open_quarantine
    return f"{count:,} {'record' if count == 1 else 'records'} of {delivery.entity} {'is' if count == 1 else 'are'} in quarantine"


def _standing_version(view: SetView, current: VersionView | None) -> str:
    published = [one.version for one in view.versions if one.state == "published"]
    return f"; version {published[-1]} is published and stands" if current and published else ""
