"""`dataharvest quarantine`: see what is in quarantine, and repair it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataharvest.cli.asking import plan_option
from dataharvest.cli.quarantine_options import (
    by_option,
    entry_number,
    form_options,
    ids_or_selection,
    reason_option,
    selecting,
)
from dataharvest.cli.quarantine_output import conclude, looking_at, print_json, print_lines, save_to, write_bytes
from dataharvest.cli.quarantine_services import with_services

if TYPE_CHECKING:
    from dataharvest.quarantine import HistoryLine, Selection, Signature
    from dataharvest.services import Services
    from dataharvest.stages.repair_report import Report

Answer = TypeVar("Answer")

_LISTED, _SHOWN_BYTES = 50, 4_000
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def quarantine() -> None:
    """See the records that broke a rule, and repair, accept or read them again."""


@quarantine.command("list")
@selecting(with_state=True)
@click.option(
    "--limit", type=click.IntRange(min=1), default=_LISTED, show_default=True, help="Entries to list; counts are of all."
)
@form_options(csv=True)
def list_entries(selection: "Selection", limit: int, form: str | None) -> None:
    """Show how much is in quarantine, then the entries; --csv is for a spreadsheet and comes back with `fix --file`."""
    from dataharvest.quarantine_csv import quarantine_csv
    from dataharvest.quarantine_text import count_line, counts_json, entry_json, entry_line
    from dataharvest.stages.repair import MAX_ENTRIES

    async def look(services: "Services") -> Any:
        found = services.quarantine
        return await found.counts(selection), await found.entries(selection, limit=MAX_ENTRIES if form == "csv" else limit)

    counts, entries = with_services(look)
    if form == "csv":
        write_bytes(quarantine_csv(entries).encode())
        if sum(one.entry_count for one in counts) > len(entries):
            click.echo(f"only the first {len(entries):,} entries: name an entity or a rule", err=True)
    elif form == "json":
        print_json({"counts": counts_json(counts), "entries": list(map(entry_json, entries))})
    else:
        print_lines(map(count_line, counts) if counts else ["nothing is in quarantine"])
        print_lines(map(entry_line, entries))
        if (total := sum(one.entry_count for one in counts)) > len(entries):
            click.echo(f"… and {total - len(entries):,} more; --limit {total} shows them")


@quarantine.command()
@click.argument("quarantine_id", type=entry_number, metavar="ID")
@form_options(csv=False)
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write every byte of it to this file.")
def show(quarantine_id: int, form: str | None, save: Path | None) -> None:
    """Show entry ID with its bytes, read from the bucket if they are many, between its neighbours."""
    from dataharvest.quarantine_text import entry_json, entry_lines, neighbours_json

    async def look(services: "Services") -> Any:
        looking = looking_at(services)
        entry = await looking.entry(quarantine_id)
        if save:
            return await save_to(looking, entry, save)
        return await looking.look(entry, max_bytes=_SHOWN_BYTES + 1)

    sight = with_services(look)
    if save:
        click.echo(f"{sight:,} bytes written to {save}")
    elif form == "json":
        seen = {**entry_json(sight.entry, content=sight.content), "remark": sight.remark}
        print_json({**seen, **neighbours_json(sight.neighbours)})
    else:
        print_lines(entry_lines(sight.entry, content=sight.content, neighbours=sight.neighbours, remark=sight.remark))


@quarantine.command()
@click.argument("quarantine_id", type=entry_number, metavar="[ID]", required=False)
@click.option("--record", help="The corrected record, as a line of the file; \\n, \\xff and \\\\ as `show` writes them.")
@click.option("--record-file", type=_file, help="The same from a file, byte by byte; for a tail, all its records.")
@click.option("--as-is", is_flag=True, help="The record as it came counts: of several copies, this one.")
@click.option("--file", "file", type=_file, help="A CSV that `list --csv` wrote, with corrected records.")
@click.option("--edit", is_flag=True, help="Correct the selected entries in $EDITOR, as such a CSV.")
@selecting()
@reason_option
@by_option
@plan_option
@form_options(csv=False)
def fix(  # noqa: PLR0913
    quarantine_id: int | None,
    record: str | None,
    record_file: Path | None,
    *,
    as_is: bool,
    file: Path | None,
    edit: bool,
    selection: "Selection",
    by: "Signature",
    is_plan: bool,
    form: str | None,
) -> None:
    """Let entry ID be the record given for it, or each entry of a CSV the record that stands there now.

    A correction is checked like any other record; the original is kept beside it.
    """
    from dataharvest.cli.quarantine_sources import Source, given_contents

    source = Source(quarantine_id, record, record_file, as_is, file, edit, selection)

    async def repair(services: "Services") -> "Report | None":
        contents = await given_contents(source, services.quarantine)
        return await services.repairs.fix(contents, by=by, plan=is_plan) if contents else None

    source.require_one()
    report = with_services(repair)
    if report is None:
        click.echo("no record was changed: nothing to do")
    else:
        conclude(report, plan=is_plan, form=form)


@quarantine.command()
@ids_or_selection
@reason_option
@by_option
@plan_option
@form_options(csv=False)
def accept(selection: "Selection", *, by: "Signature", is_plan: bool, form: str | None) -> None:
    """Leave out the entries named, or all open ones selected, on purpose; the set goes on without them."""
    conclude(with_services(lambda services: services.repairs.accept(selection, by=by, plan=is_plan)), plan=is_plan, form=form)


@quarantine.command()
@ids_or_selection
@click.option("--reason", default="read again", show_default=True, help="Why; kept in the history.")
@by_option
@plan_option
@form_options(csv=False)
def replay(selection: "Selection", *, by: "Signature", is_plan: bool, form: str | None) -> None:
    """Read the entries named, or all open ones selected, again: as the tenant's contract says now, and as this program reads now.

    What still breaks a rule stays in quarantine.
    """
    conclude(with_services(lambda services: services.repairs.replay(selection, by=by, plan=is_plan)), plan=is_plan, form=form)


@quarantine.command()
@click.argument("quarantine_id", type=entry_number, metavar="[ID]", required=False)
@selecting()
@click.option("--limit", type=click.IntRange(min=1), default=_LISTED, show_default=True, help="How much of it; the newest.")
@form_options(csv=False)
def history(quarantine_id: int | None, selection: "Selection", limit: int, form: str | None) -> None:
    """Show who did what about entry ID, or about all entries selected, when and why; also what newer files have dropped."""
    from dataclasses import replace

    from dataharvest.quarantine_text import history_json, history_line

    ids = None if quarantine_id is None else (quarantine_id,)
    wanted = replace(selection, ids=ids, with_superseded=True)

    async def look(services: "Services") -> "list[HistoryLine]":
        if quarantine_id is not None:
            await looking_at(services).entry(quarantine_id)
        return await services.quarantine.history(wanted, limit=limit)

    lines = with_services(look)
    if form == "json":
        print_json(list(map(history_json, lines)))
    else:
        print_lines(map(history_line, lines) if lines else ["nothing was done"])
