"""`dataharvest status`: where every set and delivery stands, and exactly why one is not further."""

import asyncio
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from dataharvest.status import DeliveryStatus, DuplicateKey, SetStatus, StatusReport

_WIDTH_ELSEWHERE = 240
_COUNTS = ("read", "persisted", "quarantined", "duplicate", "accepted")


@click.command()
@click.option("--tenant", help="Only this tenant's.")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d", "%Y%m%d"]), help="Only this business date's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def status(tenant: str | None, day: datetime | None, as_json: bool) -> None:
    """Show every set and delivery with its state, its counts and, when it is not further, exactly why."""
    report = asyncio.run(_report(tenant, day.date() if day else None))
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        _show(report)


async def _report(tenant: str | None, day: date | None) -> "StatusReport":
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.adapters.postgres.status import PostgresStatus
    from dataharvest.rulebook import all_rules, required_entities
    from dataharvest.settings import load_settings

    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=1, application_name="dataharvest status")
    try:
        await require_current_schema(database)
        reader = PostgresStatus(database, required=required_entities(), rules=list(all_rules().values()))
        return await reader.report(tenant=tenant, dates=[day] if day else None)
    finally:
        await database.close()


def _show(report: "StatusReport") -> None:
    from rich.console import Console

    # Rich would cut lines at 80 columns where there is no terminal.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)
    for contract in report.unreadable_contracts:
        console.print(f"{contract.message} What is to be read under it waits until `dataharvest contract apply` replaces it.")
    if not report.deliveries:
        console.print("nothing is registered" if report.unreadable_contracts else "nothing has arrived")
    for one in report.sets:
        _print_set(console.print, one)
    if report.deliveries_without_set:
        console.print("\nbelongs to no set")
        console.print(_table(report.deliveries_without_set))
        _print_details(console.print, report.deliveries_without_set)
    if report.dead_letter_count:
        console.print(f"\ndead letters of all tenants: {report.dead_letter_count:,}")
        for letter in report.dead_letters:
            console.print(f"  {letter.count:,} of stage {letter.stage}, rule {letter.rule}, the last at {letter.last_at:%F %T}")


def _print_set(show, one: "SetStatus") -> None:  # type: ignore[no-untyped-def]
    version = f", version {one.version}" if one.version else ""
    show(f"\n{one.tenant} {one.business_date}: {one.state}{version}")
    show(f"  {one.reason}")
    if one.waits_for:
        show(f"  waits for: {', '.join(one.waits_for)}")
    for warning in one.warnings:
        show(f"  warning: {warning}")
    for kind in one.orphans:
        show(f"  {kind.count:,} {kind.kind}: {', '.join(kind.sample)}{', …' if kind.count > len(kind.sample) else ''}")
    show(_table(one.deliveries))
    _print_details(show, one.deliveries)
    for manifest in one.manifests:
        reason = f": {(manifest.failure or {}).get('message')}" if manifest.failure else ""
        show(f"  {manifest.file} {manifest.state}{reason}")


def _table(deliveries: "list[DeliveryStatus]") -> "Table":
    from rich.table import Table

    names = ("delivery", "entity", "file", "state", *_COUNTS, "chunks", "contract")
    table = Table(box=None, pad_edge=True)
    for name in names:
        table.add_column(name, justify="left" if name in ("entity", "file", "state") else "right", overflow="fold")
    for one in deliveries:
        counts = (f"{getattr(one.counts, name):,}" for name in _COUNTS)
        chunks = f"{one.stored_chunk_count}/{one.chunk_count or '?'}" if one.stored_chunk_count else "–"
        contract = str(one.contract_version or "–")
        table.add_row(str(one.delivery_id), one.entity or "–", one.file, one.state, *counts, chunks, contract)
    return table


def _print_details(show, deliveries: "list[DeliveryStatus]") -> None:  # type: ignore[no-untyped-def]
    for one in deliveries:
        if one.failure:
            places = (f", {name} {one.failure[name]}" for name in ("line", "column") if one.failure.get(name))
            message = one.failure.get("message", "")
            show(f"  delivery {one.delivery_id}{''.join(places)}, rule {one.failure.get('rule')}: {message}")
        if one.repeat_of:
            show(f"  delivery {one.delivery_id} repeats delivery {one.repeat_of}")
        if one.ignored_columns:
            show(f"  delivery {one.delivery_id} ignored columns: {', '.join(one.ignored_columns)}")
        for record in one.quarantined:
            column = f", column {record.column}" if record.column else ""
            place = f"line {record.line}, byte {record.byte_offset:,}{column}"
            show(f"  delivery {one.delivery_id}, {place}, rule {record.rule}: {record.message}")
        if one.duplicates:
            first = one.duplicates[0]
            where = f"in lines {', '.join(map(str, first.lines))}" if first.lines else "in lines unknown (source removed)"
            found = f"{first.record_count:,} records {first.natural_key} {where}"
            show(f"  delivery {one.delivery_id} has {found}{_more(one.duplicates)}")
        if one.open_quarantine > len(one.quarantined):
            show(f"  delivery {one.delivery_id}: {one.open_quarantine - len(one.quarantined):,} more in quarantine")


def _more(duplicates: "list[DuplicateKey]") -> str:
    return f", and {len(duplicates) - 1:,} more such keys (--json names them)" if len(duplicates) > 1 else ""
