"""Where a set stands whose newest files are a version: how far that version is."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dataharvest.rules.causes import Cause
from dataharvest.rules.needs import Rule, Work
from dataharvest.rules.states import Found, State
from dataharvest.rules.versions import SetView, VersionView, is_publishing


def of_version(view: SetView, current: VersionView, *, rules: Collection[Rule], failure: Mapping[str, Any] | None) -> Found:
    """How far the newest version is, which is made of the newest files."""
    if current.state == "published":
        return Found(State.PUBLISHED, (), f"version {current.version} is published", Cause.NOTHING)
    if current.state == "blocked":
        rule, message = (str((failure or {}).get(name, "no reason kept")) for name in ("rule", "message"))
        reason = f"version {current.version} is blocked by {rule}: {message}"
        return Found(State.BLOCKED, (rule,), reason, Cause.VERSION_BLOCKED)
    if is_publishing(current, rules=rules):
        outgoing = _undone(rules, current, {Work.PUBLISH})
        reason = f"version {current.version} is going out: {', '.join(outgoing) or 'all but the mark'}"
        return Found(State.PUBLISHING, outgoing, reason, Cause.GOING_OUT)
    return _of_computing(view, current, rules=rules)


def _of_computing(view: SetView, current: VersionView, *, rules: Collection[Rule]) -> Found:
    inner = _undone(rules, current, {Work.RELATE, Work.TRANSFORM})
    if current.facts.isdisjoint(rule.provides for rule in rules):
        reason = f"all files are stored, {', '.join(inner[:1])} of version {current.version} comes next"
        return Found(State.READY, inner[:1], reason, Cause.RELATING)
    if inner:
        return Found(State.TRANSFORMING, inner, f"version {current.version} lacks {', '.join(inner)}", Cause.COMPUTING)
    older = [one.version for one in view.versions[:-1] if is_publishing(one, rules=rules)]
    if older:
        reason = f"version {older[-1]} finishes publishing first"
        return Found(State.TRANSFORMING, (f"version {older[-1]}",), reason, Cause.OLDER_VERSION_GOES_OUT)
    outgoing = _undone(rules, current, {Work.PUBLISH})
    reason = f"version {current.version} is computed and about to go out"
    return Found(State.TRANSFORMING, outgoing, reason, Cause.ABOUT_TO_GO_OUT)


def _undone(rules: Iterable[Rule], version: VersionView, work: Collection[Work]) -> tuple[str, ...]:
    return tuple(rule.name for rule in rules if rule.work in work and rule.provides not in version.facts)
