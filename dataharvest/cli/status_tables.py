"""How `dataharvest status` prints a report."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dataharvest.cli.status_leftovers import latest_unusable, print_more_unusable, unusable_count
from dataharvest.rules.attention import report_order
from dataharvest.rules.standing import State
from dataharvest.rules.text import orphans_text, visible
from dataharvest.rules.versions import IN_PROGRESS

if TYPE_CHECKING:
    from rich.table import Table

    from dataharvest.status import DeliveryStatus, DuplicateKey, SetStatus, StatusReport, Why

_COUNTS = ("read", "persisted", "quarantined", "duplicate", "accepted")
_REASONS_SHOWN = 20
_LEFT = ("tenant", "date", "state", "late", "entity", "file")

Show = Callable[..., None]


def print_report(show: Show, report: "StatusReport", *, details: bool) -> None:
    """The table of sets, why those that are not published are not, and what belongs to no set."""
    for contract in report.unreadable_contracts:
        show(f"{contract.message} What is to be read under it waits until `dataharvest contract apply` replaces it.")
    if not report.sets and not unusable_count(report):
        show("nothing is registered" if report.unreadable_contracts else "nothing has arrived")
    if report.sets:
        show(sets_table(report))
        if report.set_count is not None and report.set_count > len(report.sets):
            more = report.set_count - len(report.sets)
            show(f" … and {more:,} more sets: `--limit 0` shows all, `--tenant` and `--date` those of one")
    if details:
        for one in report.sets:
            _print_set(show, one)
    else:
        unpublished = [one for one in report.sets if one.state is not State.PUBLISHED]
        print_reasons(show, unpublished, count=report.unpublished_count)
    if latest := latest_unusable(report):
        show("\nbelongs to no set")
        show(_table(latest))
        _print_details(show, latest)
    print_more_unusable(show, report)
    if report.dead_letter_count:
        show(f"\ndead letters of all tenants: {report.dead_letter_count:,}")
        for letter in report.dead_letters:
            show(f"  {letter.count:,} of stage {letter.stage}, rule {letter.rule}, the last at {letter.last_at:%F %T}")


def sets_table(report: "StatusReport") -> "Table":
    """One line for each set."""
    from rich.table import Table

    table = Table(box=None, pad_edge=True)
    for name in ("tenant", "date", "state", "deliveries", "chunks", "rows", "quarantined", "ETA", "late"):
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
    for one in report.sets:
        open_records = sum(each.open_quarantine for each in one.deliveries)
        chunks = f"{one.stored_chunk_count:,}/{'?' if one.chunk_count is None else f'{one.chunk_count:,}'}"
        counts = f"{len(one.deliveries):,}", chunks, f"{_rows_of(one):,}", f"{open_records:,}"
        table.add_row(one.tenant, str(one.business_date), one.state, *counts, eta_of(one), late_of(one, report.at))
    return table


def _rows_of(one: "SetStatus") -> int:
    """Rows of the newest delivery of each entity, also of one that is still being stored."""
    going = {each.entity: each.counts.persisted for each in one.deliveries if each.state in {"complete", *IN_PROGRESS}}
    return sum(going.values())


def eta_of(one: "SetStatus") -> str:
    """When the step in hand is done, in the tenant's time."""
    return f"{_local(one.eta_at, one):%H:%M:%S}" if one.eta_at else "–"


def late_of(one: "SetStatus", at: datetime) -> str:
    """Whether the set missed its cut-off, or when it is due."""
    if one.late_at:
        return f"late since {_local(one.late_at, one):%F %H:%M}"
    if one.due_at and one.version is None:
        return f"{'was due' if one.due_at <= at else 'due'} {_local(one.due_at, one):%F %H:%M}"
    return "no"


def _local(moment: datetime, one: "SetStatus") -> datetime:
    return moment.astimezone(ZoneInfo(one.zone))


def print_reasons(show: Show, sets: "list[SetStatus]", *, limit: int | None = _REASONS_SHOWN, count: int | None = None) -> None:
    """Why each of these sets is where it is, and the command that repairs it, the most urgent first.

    ``count``: how many there are, where these are not all.
    """
    shown = sorted(sets, key=_urgency)[:limit]
    for one in shown:
        if one.why:
            show(f"\n{one.tenant} {one.business_date}: {one.state}: {one.why.sentence}")
            show(f"  {way_out(one.why)}")
    if more := max(0, (len(sets) if count is None else count) - len(shown)):
        show(f"\n… and {more:,} more sets that are not published: `dataharvest status --why --limit 0` has them all")


def way_out(why: "Why") -> str:
    """What to do, the command, and what its words in capitals stand for; a line each."""
    said = [f"    {word}: {meaning}" for word, meaning in why.placeholders.items()]
    return "\n".join((why.remedy, f"  $ {why.command}", *said))


def _urgency(one: "SetStatus") -> tuple[int, int, str]:
    return report_order(one.state, late=one.late_at is not None, business_date=one.business_date, tenant=one.tenant)


def _print_set(show: Show, one: "SetStatus") -> None:
    version = f", version {one.version}" if one.version else ""
    show(f"\n{one.tenant} {one.business_date}: {one.state}{version}")
    show(f"  {visible(one.reason)}")
    if one.waits_for:
        show(f"  waits for: {', '.join(one.waits_for)}")
    if one.why and one.state is not State.PUBLISHED:
        show(f"  why: {one.why.sentence}\n  {way_out(one.why)}")
    for warning in one.warnings:
        show(f"  warning: {warning}")
    for kind in one.orphans:
        show(f"  {orphans_text(kind.count, kind.kind)}: {', '.join(kind.sample)}{', …' if kind.count > len(kind.sample) else ''}")
    show(_table(one.deliveries))
    _print_details(show, one.deliveries)
    for manifest in one.manifests:
        reason = f": {(manifest.failure or {}).get('message')}" if manifest.failure else ""
        show(f"  {visible(manifest.file)} {manifest.state}{reason}")


def _table(deliveries: "list[DeliveryStatus]") -> "Table":
    from rich.table import Table

    names = ("delivery", "entity", "file", "state", *_COUNTS, "chunks", "contract")
    table = Table(box=None, pad_edge=True)
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
    for one in deliveries:
        counts = (f"{getattr(one.counts, name):,}" for name in _COUNTS)
        chunks = f"{one.stored_chunk_count}/{one.chunk_count or '?'}" if one.stored_chunk_count else "–"
        contract = str(one.contract_version or "–")
        table.add_row(str(one.delivery_id), one.entity or "–", visible(one.file), one.state, *counts, chunks, contract)
    return table


def _print_details(show: Show, deliveries: "list[DeliveryStatus]") -> None:
    for one in deliveries:
        if one.failure:
            places = (f", {name} {one.failure[name]}" for name in ("line", "column") if one.failure.get(name))
            message = one.failure.get("message", "")
            show(visible(f"  delivery {one.delivery_id}{''.join(places)}, rule {one.failure.get('rule')}: {message}"))
        if one.repeat_of:
            show(f"  delivery {one.delivery_id} repeats delivery {one.repeat_of}")
        if one.ignored_columns:
            show(f"  delivery {one.delivery_id} ignored columns: {', '.join(map(visible, one.ignored_columns))}")
        for record in one.quarantined:
            column = f", column {record.column}" if record.column else ""
            place = f"line {record.line}, byte {record.byte_offset:,}{column}"
            show(f"  delivery {one.delivery_id}, {place}, rule {record.rule}: {visible(record.message)}")
        if one.duplicates:
            first = one.duplicates[0]
            where = f"in lines {', '.join(map(str, first.lines))}" if first.lines else "in lines unknown (source removed)"
            found = f"{first.record_count:,} records {visible(first.natural_key)} {where}"
            show(f"  delivery {one.delivery_id} has {found}{_more(one.duplicates)}")
        if one.open_quarantine > len(one.quarantined):
            show(f"  delivery {one.delivery_id}: {one.open_quarantine - len(one.quarantined):,} more in quarantine")


def _more(duplicates: "list[DuplicateKey]") -> str:
    return f", and {len(duplicates) - 1:,} more such keys (--json names them)" if len(duplicates) > 1 else ""
