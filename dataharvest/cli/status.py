"""`dataharvest status`: where every set stands, and exactly why one is not further."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from dataharvest.adapters.postgres.status import PostgresStatus
    from dataharvest.settings import Settings
    from dataharvest.status import StatusReport

_WIDTH_ELSEWHERE = 240
_SETS_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What is to be shown, and how."""

    tenant: str | None
    day: date | None
    form: str
    details: bool
    limit: int
    """Sets that are shown, at most; 0 for all."""

    async def report(self, reader: "_Reader") -> "StatusReport":
        from dataharvest.cli.status_services import silent_services

        report, silent = await asyncio.gather(self._read(reader.sets), silent_services(reader.settings))
        return report.model_copy(update={"silent_services": silent})

    async def _read(self, sets: "PostgresStatus") -> "StatusReport":
        if self.limit:
            return await sets.urgent(limit=self.limit, tenant=self.tenant, day=self.day)
        return await sets.report(tenant=self.tenant, dates=[self.day] if self.day else None)


@dataclass(frozen=True)
class _Reader:
    """Where a report comes from: the database, and the services that are asked whether they answer."""

    sets: "PostgresStatus"
    settings: "Settings"


@click.command()
@click.option("--tenant", help="Only this tenant's.")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d", "%Y%m%d"]), help="Only this business date's.")
@click.option("--details", is_flag=True, help="Show every delivery too; without it they are shown of a single set.")
@click.option("--why", "form", flag_value="why", help="Print only why sets are not published, and what repairs it.")
@click.option("--json", "form", flag_value="json", help="Print JSON; docs/status.md describes it.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help="Show so many sets, the most urgent ones; 0 for all.  [default: 100, with --json 0]",
)
@click.option("--watch", is_flag=True, help="Show it anew whenever something has changed, until Ctrl-C.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between two looks.")
def status(
    *, tenant: str | None, day: datetime | None, details: bool, form: str | None, limit: int | None, watch: bool, interval: float
) -> None:
    """Show every set with its state, its counts and, when it is not published, exactly why and what to do."""
    if watch and form == "json":
        raise click.UsageError("--watch draws on a terminal; run `status --json` as often as you need it")
    single = tenant is not None and day is not None
    if limit is None:
        limit = 0 if single or form == "json" else _SETS_SHOWN
    wish = _Wish(tenant=tenant, day=day.date() if day else None, form=form or "table", details=details or single, limit=limit)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(wish, interval) if watch else _once(wish))


async def _once(wish: _Wish) -> None:
    async with _reader() as reader:
        report = await wish.report(reader)
    if wish.form == "json":
        click.echo(report.model_dump_json(indent=1))
    else:
        _print(_console(), report, wish)


async def _watch(wish: _Wish, interval_s: float) -> None:
    """Draw over and over on a terminal; elsewhere print again only what has changed."""
    from rich.live import Live

    console = _console()
    async with _reader() as reader:
        if not console.is_terminal:
            await _print_changes(console, wish, reader, interval_s)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(await _drawn(wish, reader), refresh=True)
                await asyncio.sleep(interval_s)


async def _print_changes(console: "Console", wish: _Wish, reader: _Reader, interval_s: float) -> None:
    last = ""
    while True:
        with console.capture() as captured:
            console.print(await _drawn(wish, reader))
        if captured.get() != last:
            last = captured.get()
            click.echo(last)
        await asyncio.sleep(interval_s)


async def _drawn(wish: _Wish, reader: _Reader) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from dataharvest.errors import Unavailable

    parts: list[RenderableType] = []
    try:
        report = await wish.report(reader)
    except Unavailable as outage:
        return Text(f"{outage.message}; trying again")
    _print_with(lambda part: parts.append(Text(part) if isinstance(part, str) else part), report, wish)
    return Group(*parts)


def _print(console: "Console", report: "StatusReport", wish: _Wish) -> None:
    _print_with(console.print, report, wish)


def _print_with(show, report: "StatusReport", wish: _Wish) -> None:  # type: ignore[no-untyped-def]
    from dataharvest.cli.status_leftovers import print_unusable, unusable_count
    from dataharvest.cli.status_tables import print_reasons, print_report
    from dataharvest.rules.standing import State

    for service in report.silent_services or ():
        show(f"{service} does not answer from here: while it is gone the work waits for it, and then goes on by itself")
    if wish.form == "why":
        single = wish.tenant is not None and wish.day is not None
        chosen = report.sets if single else [one for one in report.sets if one.state is not State.PUBLISHED]
        print_reasons(show, chosen, limit=None, count=report.unpublished_count)
        print_unusable(show, report)
        if not chosen and (report.sets or not unusable_count(report)):
            show("every set is published" if report.sets else "nothing has arrived")
    else:
        print_report(show, report, details=wish.details)


def _console() -> "Console":
    from rich.console import Console

    # Rich would cut lines at 80 columns where there is no terminal.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)


@asynccontextmanager
async def _reader() -> AsyncIterator[_Reader]:
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.adapters.postgres.status import PostgresStatus
    from dataharvest.rulebook import all_rules, required_entities
    from dataharvest.settings import load_settings

    settings = load_settings()
    database = Database(settings.database_url.get_secret_value(), pool_size=1, application_name="dataharvest status")
    try:
        await require_current_schema(database)
        sets = PostgresStatus(database, required=required_entities(), rules=list(all_rules().values()))
        yield _Reader(sets, settings)
    finally:
        await database.close()
