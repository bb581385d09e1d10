"""The one command-line program: Faust's own, with our commands beside its."""

import sys
from typing import IO, Any

import click

EXIT_MISCONFIGURED = 78


class Refusal(click.ClickException):
    """A misconfigured application, for whoever typed the command; any other error is a traceback in `faust -A dataharvest`."""

    exit_code = EXIT_MISCONFIGURED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the one sentence."""
        click.echo(f"dataharvest: {self.message}", file=file, err=True)


def register_commands() -> None:
    """Add our commands to Faust's group; doing it twice changes nothing."""
    from faust.cli.faust import cli

    from dataharvest.cli import (
        bridge,
        contract,
        harvest,
        migrate,
        reconcile,
        split,
        stack,
        status,
        supervise,
        sweep,
        tenant,
        topics,
    )

    for command in (
        bridge.bridge,
        contract.contract,
        harvest.harvest,
        migrate.migrate,
        reconcile.reconcile,
        split.split,
        stack.stack,
        status.status,
        supervise.supervise,
        sweep.sweep,
        tenant.tenant,
        topics.topics,
    ):
        cli.add_command(command)


def main() -> None:
    """Entry point of ``dataharvest``: the same as ``faust -A dataharvest``, without needing settings before they are used."""
    from faust.cli.faust import cli

    from dataharvest.errors import DataHarvestError

    register_commands()
    own = set(cli.commands) - _faust_commands()
    if not _names_any(own | {"--help", "--version"}):
        # Only Faust's own commands work on the application.
        sys.argv[1:1] = ["-A", "dataharvest"]
    try:
        cli(prog_name="dataharvest")
    except DataHarvestError as error:
        click.echo(f"dataharvest: {error}", err=True)
        sys.exit(1)


def _faust_commands() -> set[str]:
    return {"worker", "agents", "clean-versions", "completion", "livecheck", "model", "models", "reset", "send", "tables"}


def _names_any(names: set[str]) -> bool:
    given = next((argument for argument in sys.argv[1:] if not argument.startswith("-") or argument in names), "--help")
    return given in names
