"""Which deliveries make up a set version, and when a new version is due."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from dataharvest.rules.needs import Rule, Work, ready_rules

ACCEPTING = frozenset({"registered", "waiting", "splitting", "sealed"})
"""States in which a delivery takes chunks."""
IN_PROGRESS = ACCEPTING | {"judging"}
"""States of a delivery that will count, or end, by itself."""


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """What a decision about a set has to know of one delivery."""

    delivery_id: int
    entity: str
    state: str
    last_modified: datetime
    object_key: str
    open_quarantine: int
    is_broken: bool = False
    """What was read is not what is accounted for: a bug that somebody has to look at; the delivery stays as it is."""

    @property
    def order(self) -> tuple[datetime, str, int]:
        """Newer deliveries come later. Object stores keep whole seconds, so the order of registration breaks ties."""
        return self.last_modified, self.object_key, self.delivery_id


@dataclass(frozen=True, kw_only=True)
class VersionView:
    """A set version as stored."""

    version: int
    state: str
    deliveries: Mapping[str, int]
    facts: frozenset[str]
    announced: frozenset[str]
    edition: int = 0
    """The set's edition when the version was made."""


@dataclass(frozen=True, kw_only=True)
class SetView:
    """A set as stored: the deliveries that count and the versions made so far, oldest first."""

    deliveries: tuple[DeliveryView, ...]
    versions: tuple[VersionView, ...]
    since_seal_s: float = math.inf
    """Seconds since a delivery of the set was last sealed or ended."""
    edition: int = 0
    """Raised by whatever changes the set's records, or how its values are computed, without a new delivery."""
    has_manifest: bool = False
    """Whether there is a manifest that can be used."""
    is_totals_note_due: bool = False
    """Whether a decision has something to note of the control totals even when they agree: a problem was noted, or a manifest
    came that nothing was decided about yet."""
    has_unsent: bool = False
    """Whether a readiness was announced and not marked as sent."""
    has_unneeded: bool = False
    """Whether there are rows of a superseded delivery."""
    contract_version: int = 0
    """The newest contract of the tenant; 0 where none is stored."""


def newest_complete(deliveries: Iterable[DeliveryView]) -> dict[str, DeliveryView]:
    """Per entity the newest delivery that is stored completely."""
    complete = sorted((one for one in deliveries if one.state == "complete"), key=lambda one: one.order)
    return {one.entity: one for one in complete}


def due_version(
    view: SetView, *, required: Collection[str], settle_s: float = 0.0, quarantine_threshold: int = 0
) -> dict[str, int] | None:
    """Deliveries of the version to be made now, by entity; None when none is due.

    The first version is due as soon as every required entity has a complete delivery whose newest is clean, and no file
    of an entity that the contract does without is being read. A later one is due when that choice or the set's edition
    has changed, no delivery that may count is being read, and ``settle_s`` seconds have passed since one was last sealed,
    so that files corrected together make one version. A delivery that waits for an object that can't be read holds
    nobody up; one that does not add up holds up everything until a newer one replaces it.
    """
    chosen = _changed_choice(view, required=required, quarantine_threshold=quarantine_threshold)
    return None if chosen is None or _unsettled_s(view, settle_s) > 0 else chosen


def due_in_s(view: SetView, *, required: Collection[str], settle_s: float, quarantine_threshold: int = 0) -> float | None:
    """Seconds until a version is due only because time has passed; None when that is not what it waits for."""
    unsettled_s = _unsettled_s(view, settle_s)
    chosen = _changed_choice(view, required=required, quarantine_threshold=quarantine_threshold)
    return None if chosen is None or unsettled_s <= 0 else unsettled_s


def _changed_choice(view: SetView, *, required: Collection[str], quarantine_threshold: int) -> dict[str, int] | None:
    newest = newest_complete(view.deliveries)
    if set(required) - set(newest) or any(one.open_quarantine > quarantine_threshold for one in newest.values()):
        return None
    if broken_deliveries(view.deliveries):
        return None
    chosen = {entity: one.delivery_id for entity, one in newest.items()}
    moving = [one for one in in_progress(view.deliveries) if _is_moving(one)]
    if not view.versions:
        return None if any(one.entity not in {*required, *newest} for one in moving) else chosen
    return None if moving or is_made_of(view.versions[-1], chosen, edition=view.edition) else chosen


def is_made_of(version: VersionView, deliveries: Mapping[str, int], *, edition: int) -> bool:
    """Whether the version was made of these deliveries in this edition of the set."""
    return dict(version.deliveries) == deliveries and version.edition == edition


def in_progress(deliveries: Collection[DeliveryView]) -> list[DeliveryView]:
    """Deliveries that may come to count; one that is older than a complete one of its entity can't, whatever becomes of it."""
    newest = newest_complete(deliveries)
    under_way = [one for one in deliveries if one.state in IN_PROGRESS]
    return [one for one in under_way if one.entity not in newest or one.order > newest[one.entity].order]


def broken_deliveries(deliveries: Collection[DeliveryView]) -> list[DeliveryView]:
    """Deliveries that do not add up and that no newer complete one has replaced."""
    return [one for one in in_progress(deliveries) if one.is_broken]


def _is_moving(one: DeliveryView) -> bool:
    return one.state != "waiting" and not one.is_broken


def _unsettled_s(view: SetView, settle_s: float) -> float:
    return settle_s - view.since_seal_s if view.versions else 0.0


def announcements(view: SetView, *, rules: Collection[Rule]) -> list[tuple[int, Rule]]:
    """Rules to announce now, with their set version.

    Nothing of a version is published while an older one is still publishing: versions of a key must rise.
    """
    found: list[tuple[int, Rule]] = []
    older_publishing = False
    for version in view.versions:
        if version.state == "open":
            ready = ready_rules(rules, facts=version.facts, announced=version.announced)
            found += [(version.version, rule) for rule in ready if not (older_publishing and rule.work is Work.PUBLISH)]
        older_publishing = older_publishing or is_publishing(version, rules=rules)
    return found


def is_publishing(version: VersionView, *, rules: Collection[Rule]) -> bool:
    """Whether an outbound message of this version was announced and not all are out."""
    publish = {rule.name for rule in rules if rule.work is Work.PUBLISH}
    return version.state == "open" and bool(publish & version.announced)


def is_published(version: VersionView, *, rules: Collection[Rule]) -> bool:
    """Whether every outbound message of the version is out."""
    return {rule.provides for rule in rules if rule.work is Work.PUBLISH} <= version.facts


def with_published(view: SetView, ended: Collection[int]) -> SetView:
    """The set once these versions are published."""
    marked = (replace(one, state="published") if one.version in ended else one for one in view.versions)
    return replace(view, versions=tuple(marked))
