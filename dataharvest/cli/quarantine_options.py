"""Options that the commands of `dataharvest quarantine` share."""

import functools
import getpass
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import click

from dataharvest.cli.asking import DAY, ENTITY, RECORD_RULE, TenantName

if TYPE_CHECKING:
    from dataharvest.quarantine import Selection, State

Command = Callable[..., None]

entry_number = click.IntRange(1, (1 << 63) - 1)


def selecting(*, with_state: bool = False) -> Callable[[Command], Command]:
    """Options that select entries; the command is given a `Selection`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def selected(*arguments: Any, **options: Any) -> None:
            return command(*arguments, selection=_selection(options, with_state=with_state), **options)

        if with_state:
            kinds = click.Choice(["open", "fixed", "accepted", "all"])
            selected = click.option("--state", type=kinds, default="open", show_default=True, help="Only these.")(selected)
        selected = click.option("--rule", type=RECORD_RULE, help="Only those that broke this rule.")(selected)
        selected = click.option("--entity", type=ENTITY, help="Only of this kind of file.")(selected)
        selected = click.option("--date", "day", type=DAY, help="Only of this business date.")(selected)
        return click.option("--tenant", type=TenantName(), help="Only this tenant's.")(selected)

    return decorate


def ids_or_selection(command: Command) -> Command:
    """Entries by number, or the open ones of a tenant and date; the command is given a `Selection`."""

    @functools.wraps(command)
    def selected(*arguments: Any, ids: tuple[int, ...], selection: "Selection", **options: Any) -> None:
        from dataclasses import replace

        is_narrowed = any((selection.tenant, selection.business_date, selection.entity, selection.rule))
        if ids and is_narrowed:
            raise click.UsageError("Name entries by number or select them, not both.")
        if not ids and not (selection.tenant and selection.business_date):
            raise click.UsageError("Name entries by number, or select them with --tenant and --date at least.")
        chosen = replace(selection, ids=ids, with_superseded=True) if ids else replace(selection, state="open")
        return command(*arguments, selection=chosen, **options)

    return click.argument("ids", type=entry_number, nargs=-1, metavar="[ID]…")(selecting()(selected))


def reason_option(command: Command) -> Command:
    """Why something is done: required."""
    return click.option("--reason", required=True, help="Why; kept in the history.")(command)


def by_option(command: Command) -> Command:
    """Who does something and why; the command is given a `Signature`."""

    @functools.wraps(command)
    def signed(*arguments: Any, who: str | None, reason: str, **options: Any) -> None:
        from dataharvest.quarantine import Signature

        if not reason.strip():
            raise click.BadParameter("say why", param_hint="--reason")
        return command(*arguments, by=Signature(who=who or _user(), why=reason), **options)

    return click.option("--by", "who", help="Who does it; by default, your user name.")(signed)


def form_options(*, csv: bool) -> Callable[[Command], Command]:
    """How the answer is printed; the command is given ``form``."""

    def decorate(command: Command) -> Command:
        if csv:
            command = click.option("--csv", "form", flag_value="csv", help="Print a CSV for a spreadsheet.")(command)
        return click.option("--json", "form", flag_value="json", help="Print JSON.")(command)

    return decorate


def _selection(options: dict[str, Any], *, with_state: bool) -> "Selection":
    from dataharvest.quarantine import Selection

    day: datetime | None = options.pop("day")
    state = options.pop("state") if with_state else "all"
    return Selection(
        tenant=options.pop("tenant"),
        business_date=day.date() if day else None,
        entity=options.pop("entity"),
        rule=options.pop("rule"),
        state=None if state == "all" else cast("State", state),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise click.UsageError("Nobody knows who you are: give --by.") from error
