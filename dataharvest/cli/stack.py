"""``dataharvest stack``: start, stop and look at the embedded Kafka, PostgreSQL and S3."""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

import click

from dataharvest.errors import DataHarvestError

if TYPE_CHECKING:
    from dataharvest.stack.status import ServiceReport


Arguments = ParamSpec("Arguments")


def one_sentence(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The command, with its expected failures shown as one sentence and exit code 1."""

    @functools.wraps(command)
    def shown(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        try:
            command(*arguments, **options)
        except (DataHarvestError, OSError) as error:
            click.echo(f"dataharvest stack: {error}", err=True)
            sys.exit(1)

    return shown


@click.group("stack")
def stack() -> None:
    """The embedded Kafka, PostgreSQL and S3; no Docker needed."""


@stack.command("up")
@one_sentence
def up() -> None:
    """Start what is not running and write stack.env."""
    from dataharvest.stack import Stack  # noqa: PLC0415

    started = time.monotonic()
    services = Stack()
    if services.is_up():
        click.echo("already up")
    else:
        services.up()
        click.echo(f"up after {time.monotonic() - started:.1f} s")
    for service in services.services:
        click.echo(f"  {service.name:9} {service.address}")
    click.echo(f"settings: {services.home.environment_path}")


@stack.command("down")
@one_sentence
def down() -> None:
    """Stop the services; their data stays."""
    from dataharvest.stack import Stack  # noqa: PLC0415

    Stack().down()
    click.echo("down")


@stack.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@one_sentence
def status(as_json: bool) -> None:
    """Show every service; exit code 0 when all are up, else 1."""
    from dataharvest.stack import Stack  # noqa: PLC0415
    from dataharvest.stack.status import reports  # noqa: PLC0415

    found = reports(Stack())
    if as_json:
        click.echo(json.dumps([report.as_json() for report in found], indent=1))
    else:
        _show_table(found)
    sys.exit(0 if all(report.state == "up" for report in found) else 1)


def _show_table(found: list["ServiceReport"]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("service", "state", "address", "pid", "uptime", "memory", box=None, pad_edge=False)
    for report in found:
        table.add_row(*report.as_row())
    Console().print(table)


if __name__ == "__main__":
    stack()
