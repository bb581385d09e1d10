"""`dataharvest reconcile`: the statement of a set from file to message, and every disagreement."""

import asyncio
import csv
import io
import json
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.rules.control_totals import Difference
    from dataharvest.rules.statement import Statement

_WIDTH_ELSEWHERE = 240
_COLUMNS = ("step", "subject", "delivery", "figure", "value")


@click.command()
@click.option("--tenant", required=True, help="Whose set.")
@click.option("--date", "day", required=True, type=click.DateTime(["%Y-%m-%d", "%Y%m%d"]), help="Business date of the set.")
@click.option("--json", "form", flag_value="json", help="Print JSON instead of a table.")
@click.option("--csv", "form", flag_value="csv", help="Print the figures as CSV; differences go to the standard error.")
@click.pass_context
def reconcile(context: click.Context, tenant: str, day: datetime, form: str | None) -> None:
    """Show what each step from file to outbound message holds, in counts and exact sums; exit 1 on any difference.

    Exit 2 when nothing of the set ever arrived.
    """
    from dataharvest.rules.reconciliation import differences

    statement = asyncio.run(_statement(tenant, day.date()))
    if statement is None:
        click.echo(f"nothing of {tenant} for {day.date()} ever arrived", err=True)
        context.exit(2)
    found = differences(statement)
    {"json": _print_json, "csv": _print_csv}.get(form or "", _print_table)(statement, found)
    context.exit(1 if found else 0)


async def _statement(tenant: str, day: date) -> "Statement | None":
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.reconciliation import read_statement
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.settings import load_settings

    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=1, application_name="dataharvest reconcile")
    try:
        await require_current_schema(database)
        return await read_statement(database, tenant, day)
    finally:
        await database.close()


def _rows(statement: "Statement") -> list[tuple[str, str, str, str, str]]:
    from dataharvest.rules.statement_lines import lines

    return [(one.step, one.subject, str(one.delivery_id or ""), one.what, one.text) for one in lines(statement)]


def _print_table(statement: "Statement", found: "list[Difference]") -> None:
    from rich.console import Console
    from rich.table import Table

    from dataharvest.rules.statement_lines import notes

    # Rich would cut lines at 80 columns where there is no terminal.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)
    version = f", version {statement.version} {statement.version_state}" if statement.version else ""
    console.print(f"{statement.tenant} {statement.business_date}{version}")
    table = Table(box=None, pad_edge=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("delivery", "value") else "left", overflow="fold")
    for row in _rows(statement):
        table.add_row(*row)
    console.print(table)
    for note in notes(statement):
        console.print(f"  note: {note}")
    for one in found:
        console.print(f"  difference: {one.sentence}")
    if not found:
        console.print("  no differences")


def _print_json(statement: "Statement", found: "list[Difference]") -> None:
    from dataharvest.rules.control_totals import figure_text
    from dataharvest.rules.statement_lines import notes

    report = {
        "tenant": statement.tenant,
        "business_date": statement.business_date.isoformat(),
        "version": statement.version,
        "version_state": statement.version_state,
        "figures": [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(statement)],
        "notes": notes(statement),
        "differences": [
            {
                "subject": one.entity,
                "figure": one.what,
                "expected": figure_text(one.expected),
                "found": figure_text(one.found),
                "difference": figure_text(one.difference) or None,
                "message": one.sentence,
            }
            for one in found
        ],
    }
    click.echo(json.dumps(report, indent=1, ensure_ascii=False))


def _print_csv(statement: "Statement", found: "list[Difference]") -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(statement))
    click.echo(text.getvalue(), nl=False)
    for one in found:
        click.echo(one.sentence, err=True)
