"""What a tenant is told of its sets, when a call of its webhook is tried again, and when that ends."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple
from uuid import UUID, uuid5

from dataharvest.rules.standing import Standing, State
from dataharvest.rules.text import visible

Kind = Literal["set_ready", "set_blocked", "set_late", "file_rejected"]
Event = Literal["ready", "blocked", "late"]
EVENTS: Mapping[Kind, Event] = {"set_ready": "ready", "set_blocked": "blocked", "set_late": "late", "file_rejected": "blocked"}
"""What a contract calls it: whoever wants to know what is blocked is also told of a file that can't be used."""
NAMESPACE = UUID("3b0f7b0e-53a1-5c55-8d5e-0b1f6a1c2d77")
"""Namespace of notification ids; a constant of the contract, never to be changed."""
GIVE_UP_AFTER_S = 24 * 3600.0
"""How long a webhook that does not accept a notification is called again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3600.0


class Note(NamedTuple):
    """What there is to tell; the same id for the same event, whoever finds it and however often."""

    notification_id: UUID
    kind: Kind
    version: int | None
    reason: str


def ready_note(tenant: str, business_date: date, *, version: int) -> Note:
    """The set has a version: every file is stored and clean."""
    identity = _identity(tenant, business_date, "set_ready", str(version))
    return Note(identity, "set_ready", version, f"all files are stored, version {version} is made")


def blocked_note(tenant: str, business_date: date, stands: Standing, *, deliveries: Mapping[str, int]) -> Note | None:
    """Somebody has to repair something before the set goes on; None when it is not so.

    Told once for the same trouble with the same files, however its figures change; again when another file has the same.
    """
    if stands.state not in (State.BLOCKED, State.DISPUTED):
        return None
    about = f"{_sorted(stands.waits_for)}|{_sorted(map(str, deliveries.values()))}"
    return Note(_identity(tenant, business_date, "set_blocked", about), "set_blocked", stands.version, stands.reason)


def blocked_version_note(tenant: str, business_date: date, *, version: int, failure: Mapping[str, object]) -> Note:
    """A set version is not published because of what relating its records has shown."""
    reason = f"version {version} is blocked by {failure.get('rule')}: {failure.get('message')}."
    identity = _identity(tenant, business_date, "set_blocked", f"version {version}|{failure.get('rule')}")
    return Note(identity, "set_blocked", version, reason)


def rejected_note(tenant: str, business_date: date, *, delivery_id: int, entity: str, rule: str | None) -> Note:
    """A file was rejected: its set waits for another. At once, for at the cut-off it would be late."""
    # What the rule found may quote the file, and a file without a header begins with a record.
    reason = f"the file of {entity}, delivery {delivery_id}, was rejected by rule {rule}; `dataharvest status` says why."
    identity = _identity(tenant, business_date, "set_blocked", f"rejected|{delivery_id}")
    return Note(identity, "set_blocked", None, reason)


def unusable_note(tenant: str, *, delivery_id: int, reason: str) -> Note:
    """A file was rejected whose name says no date or no kind of file: there is no set that it could hold up."""
    # It quotes the name and nothing else, for the file was not read.
    return Note(_identity(tenant, None, "file_rejected", str(delivery_id)), "file_rejected", None, visible(reason))


def late_note(tenant: str, business_date: date, *, due_at: datetime) -> Note:
    """The cut-off has passed, and the set has no version."""
    reason = f"the set had no version at its cut-off, {due_at.isoformat()}"
    # The same moment in another zone is the same cut-off.
    about = due_at.astimezone(UTC).isoformat()
    return Note(_identity(tenant, business_date, "set_late", about), "set_late", None, reason)


def pause_after(attempt: int) -> float:
    """Seconds until a webhook is called again after the given attempt, from 1: doubling, an hour at most."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 16))


def _identity(tenant: str, business_date: date | None, kind: Kind, about: str) -> UUID:
    return uuid5(NAMESPACE, f"{tenant}|{business_date or ''}|{kind}|{about}")


def _sorted(texts: Iterable[str]) -> str:
    return ",".join(sorted(texts))
