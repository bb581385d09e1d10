"""What a harvest came to: its exit code, and every problem in one line."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dataharvest.rules.standing import State
from dataharvest.rules.text import orphans_text
from dataharvest.rules.versions import IN_PROGRESS
from dataharvest.status import DeliveryStatus, ManifestStatus, SetStatus, StatusReport

PUBLISHED, NOT_PUBLISHED = 0, 3
LINES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The end of a harvest whose uploads and sets have settled."""

    exit_code: int
    problems: tuple[str, ...]
    """One line each, the first of them, then how many more there are, then what repairs them."""
    remarks: tuple[str, ...]
    """What should be known and is no problem."""


def verdict_of(report: StatusReport, *, uploaded: Collection[int], manifests: Collection[int] = ()) -> Verdict:
    """The end of a harvest.

    Args:
        report: the sets concerned and the uploads' deliveries.
        uploaded: ids of the uploads' deliveries.
        manifests: ids of the uploaded manifests.
    """
    mine = [one for one in report.deliveries if one.delivery_id in uploaded]
    failed = [one for one in mine if one.state in ("rejected", "abandoned") or _is_broken(one)]
    unusable = [one for item in report.sets for one in item.manifests if one.manifest_id in manifests and one.state == "rejected"]
    stuck = [one for one in report.sets if one.state is not State.PUBLISHED]
    lines = [*map(_failure, failed), *map(_of_manifest, unusable), *(line for one in stuck for line in _of_set(one))]
    hidden = sum(one.open_quarantine - len(one.quarantined) for item in stuck for one in _blamed(item))
    ways_out = [_way_out(one) for one in stuck if _blamed(one)]
    return Verdict(
        exit_code=NOT_PUBLISHED if failed or unusable or stuck else PUBLISHED,
        problems=(*_cut(lines, hidden), *ways_out[:LINES_SHOWN]),
        remarks=tuple(_remarks(report, mine)),
    )


def _cut(lines: list[str], hidden: int) -> Iterator[str]:
    yield from lines[:LINES_SHOWN]
    if more := max(0, len(lines) - LINES_SHOWN) + hidden:
        yield f"… and {more:,} more; `dataharvest status` has the counts"


def _of_set(one: SetStatus) -> Iterator[str]:
    if one.state is State.INCOMPLETE:
        yield f"{one.business_date}: incomplete: waits for {', '.join(one.waits_for)}: {one.reason}"
    else:
        yield f"{one.business_date}: {one.state}: {one.reason}"
    for delivery in _blamed(one):
        for record in delivery.quarantined:
            column = f", column {record.column}" if record.column else ""
            where = f"{delivery.entity}, {delivery.file}, line {record.line}{column}"
            yield f"{where}, rule {record.rule}: {record.message} (byte {record.byte_offset:,})"
    if not _blamed(one):
        for kind in one.orphans:
            sample = ", ".join(kind.sample) + (", …" if kind.count > len(kind.sample) else "")
            yield f"{one.business_date}: {orphans_text(kind.count, kind.kind)}: {sample}"


def _way_out(one: SetStatus) -> str:
    listing = f"`dataharvest quarantine list --tenant {one.tenant} --date {one.business_date}`"
    return f"{one.business_date}: {listing} shows what is in quarantine; `quarantine fix` repairs it, `accept` leaves it out"


def _blamed(one: SetStatus) -> list[DeliveryStatus]:
    return [delivery for delivery in one.deliveries if delivery.open_quarantine and delivery.state == "complete"]


def _is_broken(delivery: DeliveryStatus) -> bool:
    """Whether its records are not all accounted for: it stays as it is."""
    return delivery.state in IN_PROGRESS and (delivery.failure or {}).get("rule") == "conservation"


def _failure(delivery: DeliveryStatus) -> str:
    failure = dict(delivery.failure or {})
    places = (f", {name} {failure[name]}" for name in ("line", "column") if failure.get(name))
    where = f"{delivery.entity or 'unknown entity'}, {delivery.file}{''.join(places)}"
    return f"{where}, {delivery.state}, rule {failure.get('rule', 'none')}: {failure.get('message', 'no reason kept')}"


def _of_manifest(manifest: ManifestStatus) -> str:
    failure = manifest.failure or {}
    return f"manifest, {manifest.file}, rejected, rule {failure.get('rule', 'none')}: {failure.get('message', 'no reason kept')}"


def _remarks(report: StatusReport, mine: list[DeliveryStatus]) -> Iterator[str]:
    for one in report.sets:
        yield from (f"{one.business_date}: warning: {warning}" for warning in one.warnings)
    for delivery in mine:
        if delivery.state == "superseded":
            yield f"{delivery.file}: a newer upload of the same entity and date counts instead"
        if delivery.ignored_columns:
            yield f"{delivery.file}: ignored columns: {', '.join(delivery.ignored_columns)}"
        assert delivery.state not in IN_PROGRESS or _is_broken(delivery), "a verdict is for what has ended"
