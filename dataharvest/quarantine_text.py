"""What is said about the quarantine and repairs: lines for a person, JSON for a program."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dataharvest.quarantine import TAIL, Entry, EntryCount, HistoryLine
from dataharvest.rules.duplicates import PlacedRecord
from dataharvest.rules.record_text import record_text
from dataharvest.rules.text import counted
from dataharvest.stages.repair_report import Outcome, Report

_SHOWN_BYTES, _SHOWN_OUTCOMES, _BRIEF_CHARACTERS = 4_000, 50, 200
_NOTHING = "nothing to do: no record that is selected is in quarantine"
_SUMMED = {"left": "still in quarantine"}
_RESULTS = {
    "fixed": ("stored", "would be stored"),
    "duplicate": ("dropped, for another record with the same key counts", "would be dropped as a duplicate"),
    "accepted": ("left out on purpose", "would be left out"),
    "unchanged": ("unchanged", "unchanged"),
    "left": ("still in quarantine", "would stay in quarantine"),
}


def count_line(one: EntryCount) -> str:
    """How much of one kind there is."""
    entries = "" if one.entry_count == one.record_count else f" in {one.entry_count:,} entries"
    records = f"{counted(one.record_count, 'record')}{entries}"
    return f"{one.tenant} {one.business_date} {one.entity}, rule {one.rule}: {records} {one.state}"


def entry_line(one: Entry) -> str:
    """An entry in one line, without its bytes."""
    column = f", column {one.column}" if one.column else ""
    settled = f"  [{one.state} by {one.settled}]" if one.settled else ""
    return f"{one.quarantine_id}: {one.entity}, line {one.line}{column}, rule {one.rule}: {one.message}{settled}"


def entry_lines(
    one: Entry, *, content: bytes, neighbours: tuple[PlacedRecord | None, PlacedRecord | None], remark: str | None
) -> Iterator[str]:
    """Everything about an entry, with its bytes between its neighbours."""
    yield f"entry {one.quarantine_id}: {one.entity} of {one.tenant} for {one.business_date}, {one.state}"
    if one.settled:
        yield f"  {one.state} by {one.settled}"
    yield f"  {one.object_key}, delivery {one.delivery_id}, chunk {one.chunk_index}"
    column = f", column {one.column}" if one.column else ""
    yield f"  line {one.line}, byte {one.byte_offset:,}, {one.byte_length:,} bytes{column}"
    yield f"  rule {one.rule}: {one.message}"
    if remark:
        yield f"  {remark}"
    before, after = neighbours
    yield ""
    if before:
        yield _record_line(" ", before.line, before.raw)
    yield _record_line(">", one.line, content)
    if after:
        yield _record_line(" ", after.line, after.raw)
    if one.content is not None:
        yield ""
        yield f"  it was fixed to: {record_text(one.content)}"


def history_line(one: HistoryLine) -> str:
    """One thing that was done."""
    about = f"entry {one.quarantine_id} ({one.tenant} {one.business_date} {one.entity}, line {one.line}, rule {one.rule})"
    became = ", ".join(f"{count:,} {what}" for what, count in _became(one) if count)
    read_as = "" if one.content is None else f": {_brief(one.original)} -> {_brief(one.content)}"
    return f"{one.at:%F %T} UTC  {one.action} by {one.who} ({one.why}): {about}{f', {became}' if became else ''}{read_as}"


def report_lines(report: Report, *, plan: bool) -> Iterator[str]:
    """What a repair came to, or would."""
    for outcome in report.outcomes[:_SHOWN_OUTCOMES]:
        yield _outcome_line(outcome, plan=plan)
    if len(report.outcomes) > _SHOWN_OUTCOMES:
        yield f"… and {len(report.outcomes) - _SHOWN_OUTCOMES:,} more; --json names them"
    counts = Counter(one.result for one in report.outcomes)
    summary = ", ".join(f"{count:,} {_SUMMED.get(result, result)}" for result, count in counts.items()) or _NOTHING
    yield f"planned, nothing was changed: {summary}" if plan else summary
    for key in sorted(report.editions):
        verb = "would get" if plan else "gets"
        yield f"{key.tenant} {key.business_date} {verb} a new version once nothing else holds it up"
    if not report.is_told:
        yield "Kafka is not there: the workers find out by themselves within a minute or two of its return"


def counts_json(counts: Iterable[EntryCount]) -> list[dict[str, Any]]:
    """The counts as plain JSON."""
    return [{**vars(one), "business_date": one.business_date.isoformat()} for one in counts]


def entry_json(one: Entry, *, content: bytes | None = None) -> dict[str, Any]:
    """An entry as plain JSON; its bytes once readable and once exact."""
    hidden = ("raw", "content", "position", "natural_key")
    record = one.raw if content is None else content
    return {
        **{name: value for name, value in vars(one).items() if name not in hidden},
        "business_date": one.business_date.isoformat(),
        "is_whole": len(record) == one.byte_length,
        "record": record_text(record),
        "record_base64": b64encode(record).decode(),
        "fixed_to": None if one.content is None else record_text(one.content),
    }


def history_json(one: HistoryLine) -> dict[str, Any]:
    """One thing that was done, as plain JSON."""
    return {
        **vars(one),
        "at": one.at.isoformat(),
        "business_date": one.business_date.isoformat(),
        "original": record_text(one.original),
        "content": None if one.content is None else record_text(one.content),
    }


def report_json(report: Report, *, plan: bool) -> dict[str, Any]:
    """What a repair came to, as plain JSON."""
    return {
        "plan": plan,
        "outcomes": [
            {
                "quarantine_id": one.entry.quarantine_id,
                "delivery_id": one.entry.delivery_id,
                "entity": one.entry.entity,
                "line": one.entry.line,
                "result": one.result,
                "message": one.message,
            }
            for one in report.outcomes
        ],
        "sets": [
            {"tenant": key.tenant, "business_date": key.business_date.isoformat(), "edition": edition}
            for key, edition in sorted(report.editions.items())
        ],
        "refused": report.refused,
    }


def neighbours_json(neighbours: Sequence[PlacedRecord | None]) -> dict[str, Any]:
    """The records before and behind, as plain JSON."""
    names = ("before", "after")
    return {
        name: {"line": one.line, "record": record_text(one.raw)} if one else None
        for name, one in zip(names, neighbours, strict=True)
    }


def _outcome_line(outcome: Outcome, *, plan: bool) -> str:
    one = outcome.entry
    what = (
        "the misaligned tail"
        if one.rule == TAIL
        else f"the {one.record_count:,} records"
        if one.stands_for_many
        else "the record"
    )
    said = _RESULTS[outcome.result][plan]
    reason = f": {outcome.message}" if outcome.message else ""
    return f"entry {one.quarantine_id}, {what} of {one.entity} from line {one.line}: {said}{reason}"


def _became(one: HistoryLine) -> Iterator[tuple[str, int]]:
    yield "stored", one.persisted_count
    yield "dropped as duplicates", one.duplicate_count
    yield "left out", one.accepted_count


def _record_line(mark: str, line: int, record: bytes) -> str:
    return f"{mark} {line:>8}  {_cut(record_text(record[:_SHOWN_BYTES]), len(record))}"


def _brief(record: bytes) -> str:
    text = record_text(record[:_BRIEF_CHARACTERS])
    return f"{text} … ({len(record):,} bytes)" if len(record) > _BRIEF_CHARACTERS else text


def _cut(text: str, byte_length: int = 0) -> str:
    if byte_length > _SHOWN_BYTES:
        return f"{text} … ({byte_length:,} bytes)"
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]} …"
