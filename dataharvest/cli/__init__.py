"""The one command-line program: Faust's own, with our commands beside its."""

import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import IO, Any

import click

from dataharvest.errors import DataHarvestError, Misconfigured

EXIT_MISCONFIGURED = 78


class Failure(click.ClickException):
    """An error of ours, for whoever typed the command; any other error is a traceback."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the one sentence."""
        click.echo(f"dataharvest: {self.message}", file=file, err=True)


class Refusal(Failure):
    """Something is set up wrongly; starting again would change nothing."""

    exit_code = EXIT_MISCONFIGURED


class Mistake(Failure):
    """What was typed can't be done; another input can."""

    exit_code = 2


@cache
def register_commands() -> None:
    """Add our commands to Faust's group, once."""
    from faust.cli.faust import cli

    from dataharvest.cli import (
        bridge,
        contract,
        dead_letters,
        harvest,
        lineage,
        migrate,
        offsets,
        quarantine,
        recompute,
        reconcile,
        replay,
        split,
        stack,
        status,
        supervise,
        sweep,
        tenant,
        topics,
        web,
        webhook,
    )

    for command in (
        bridge.bridge,
        contract.contract,
        dead_letters.dead_letters,
        harvest.harvest,
        lineage.lineage,
        migrate.migrate,
        offsets.offsets,
        quarantine.quarantine,
        recompute.recompute,
        reconcile.reconcile,
        replay.replay,
        split.split,
        stack.stack,
        status.status,
        supervise.supervise,
        sweep.sweep,
        tenant.tenant,
        topics.topics,
        web.web,
        webhook.webhook,
    ):
        _speak_plainly(command)
        cli.add_command(command)


def _speak_plainly(command: click.Command) -> None:
    """Show errors of ours as one sentence, whichever program the command is called through."""
    if isinstance(command, click.Group):
        for member in command.commands.values():
            _speak_plainly(member)
    if command.callback is not None:
        command.callback = _plain(command.callback)


def _plain(callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def told(*arguments: Any, **options: Any) -> Any:
        try:
            return callback(*arguments, **options)
        except Misconfigured as error:
            raise Refusal(error.message) from error
        except DataHarvestError as error:
            raise Failure(error.message) from error

    return told


def main() -> None:
    """Entry point of ``dataharvest``: the same as ``faust -A dataharvest``, without needing settings before they are used."""
    from faust.cli.faust import cli

    register_commands()
    own = set(cli.commands) - _faust_commands()
    if not _names_any(own | {"--help", "--version"}):
        # Only Faust's own commands work on the application.
        sys.argv[1:1] = ["-A", "dataharvest"]
    cli(prog_name="dataharvest")


def _faust_commands() -> set[str]:
    return {"worker", "agents", "clean-versions", "completion", "livecheck", "model", "models", "reset", "send", "tables"}


def _names_any(names: set[str]) -> bool:
    given = next((argument for argument in sys.argv[1:] if not argument.startswith("-") or argument in names), "--help")
    return given in names
