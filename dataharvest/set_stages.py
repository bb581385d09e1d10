"""The journey of one set as a row of stages with their counts: the picture on its page."""

from collections.abc import Collection

from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import State
from dataharvest.rules.text import counted
from dataharvest.rules.versions import IN_PROGRESS
from dataharvest.set_details import Stage, StageState, VersionStatus
from dataharvest.status import SetStatus

_BEFORE_A_VERSION = frozenset(
    {
        Cause.RECORDS_UNACCOUNTED,
        Cause.DELIVERY_MOVES,
        Cause.QUARANTINE,
        Cause.FILE_MISSING,
        Cause.VERSION_DUE,
        Cause.MANIFEST_MISSING,
        Cause.CONTRACT_UNREADABLE,
        Cause.CONTROL_TOTALS,
        Cause.CONTROL_TOTALS_DISPUTED,
    }
)
"""Causes for which no version of the newest files exists."""
_JUDGED_BLOCK = _BEFORE_A_VERSION - {Cause.DELIVERY_MOVES, Cause.FILE_MISSING, Cause.VERSION_DUE, Cause.MANIFEST_MISSING}


def stages_of(
    one: SetStatus, versions: Collection[VersionStatus], *, relate: Collection[str], transform: Collection[str]
) -> list[Stage]:
    """Files, chunks, records, relations, values and messages, in the order of the journey.

    Args:
        one: the set.
        versions: its versions.
        relate: names of the rules that link records.
        transform: names of the rules that compute values.
    """
    newest = max(versions, key=lambda version: version.version, default=None)
    current = None if one.cause in _BEFORE_A_VERSION else newest
    stands = f"version {one.version} stands" if current is None and one.version else ""
    return [
        _files(one),
        _chunks(one),
        _records(one),
        _work("linked", one, relate, current, note=stands),
        _work("computed", one, transform, current, note=stands),
        _messages(one, current, note=stands),
    ]


def _files(one: SetStatus) -> Stage:
    arrived = {each.entity for each in one.deliveries if each.state == "complete" or each.state in IN_PROGRESS}
    total = len(arrived | set(one.missing_files))
    done = total - len(one.missing_files)
    rejected = sum(each.state == "rejected" and each.entity in one.missing_files for each in one.deliveries)
    note = f"{rejected} rejected" if rejected else ""
    state = StageState.BLOCKED if rejected else _state(done, total)
    return Stage(name="arrived", state=state, done=done, total=total, unit="files", note=note)


def _chunks(one: SetStatus) -> Stage:
    moving = [each for each in one.deliveries if each.state in IN_PROGRESS]
    waiting = any(each.state == "waiting" for each in moving) or (bool(moving) and one.pause_reason is not None)
    state = StageState.BLOCKED if waiting else _state(one.stored_chunk_count, one.chunk_count)
    note = "paused" if one.pause_reason is not None and moving else "waits for its object" if waiting else ""
    return Stage(name="stored", state=state, done=one.stored_chunk_count, total=one.chunk_count, unit="chunks", note=note)


def _records(one: SetStatus) -> Stage:
    going = {each.entity: each for each in one.deliveries if each.state == "complete" or each.state in IN_PROGRESS}
    persisted = sum(each.counts.persisted for each in going.values())
    held = sum(each.open_quarantine for each in going.values())
    complete = not one.missing_files and all(each.state == "complete" for each in going.values()) and bool(going)
    if one.cause in _JUDGED_BLOCK:
        state = StageState.BLOCKED
    else:
        state = StageState.DONE if complete else StageState.ACTIVE if persisted else StageState.TODO
    return Stage(
        name="kept",
        state=state,
        done=persisted,
        total=sum(each.counts.read for each in going.values()) or None,
        unit="records",
        note=f"{held:,} in quarantine" if held else "",
    )


def _work(name: str, one: SetStatus, rules: Collection[str], current: VersionStatus | None, *, note: str) -> Stage:
    found = [each for each in one.rules if each.rule in rules] if current else []
    done, total = sum(each.done for each in found), sum(each.batch_count for each in found)
    whole = total if found and {each.rule for each in found} == set(rules) else None
    blocked = name == "linked" and one.cause is Cause.VERSION_BLOCKED
    state = StageState.BLOCKED if blocked else _state(done, whole)
    values = sum(current.values.values()) if current and name == "computed" else 0
    said = counted(values, "value") if values else note
    return Stage(name=name, state=state, done=done, total=whole, unit="batches", note=said)


def _messages(one: SetStatus, current: VersionStatus | None, *, note: str) -> Stage:
    if current is None:
        return Stage(name="published", state=StageState.TODO, done=0, total=None, unit="messages", note=note)
    state = StageState.DONE if one.state is State.PUBLISHED else _state(current.sent_count, None)
    total = current.message_count if one.state in (State.PUBLISHED, State.PUBLISHING) else None
    unchanged = one.state is State.PUBLISHED and not current.message_count
    said = "nothing has changed" if unchanged else f"version {current.version}"
    return Stage(name="published", state=state, done=current.sent_count, total=total, unit="messages", note=said)


def _state(done: int, total: int | None) -> StageState:
    if total is not None and done >= total > 0:
        return StageState.DONE
    return StageState.ACTIVE if done else StageState.TODO
