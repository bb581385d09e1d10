"""`dataharvest topics`: bring the broker's topics into line with the files in ``topics/``, and document them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.topics import Change


@click.group()
def topics() -> None:
    """Show or make the Kafka topics that the workers need."""


@topics.command()
def plan() -> None:
    """Show what `apply` would change; changes nothing."""
    from dataharvest.settings import load_settings

    _show(_changes(load_settings().broker))


@topics.command()
@click.option("--replication-factor", type=click.IntRange(min=1), default=1, show_default=True, help="Copies of a new topic.")
def apply(*, replication_factor: int) -> None:
    """Create what is missing and change what differs; never deletes anything."""
    from dataharvest.adapters.kafka_admin import apply as apply_changes
    from dataharvest.settings import load_settings
    from dataharvest.topics import CannotChange

    broker = load_settings().broker
    changes = _changes(broker)
    _show(changes)
    asyncio.run(apply_changes(broker, changes, replication_factor=replication_factor))
    if any(isinstance(change, CannotChange) for change in changes):
        raise click.ClickException("some topics still differ: see above")


@topics.command()
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("docs/topics"),
              show_default=True, help="Folder to write to.")  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; end with 1 when a document is not current.")
def doc(*, folder: Path, check: bool) -> None:
    """Write AsyncAPI 3, JSON Schemas and a page for people from the topics' files; needs no broker."""
    from dataharvest.topics import load_topics
    from dataharvest.topics_doc import outdated, write_documents

    known = load_topics()
    if check:
        stale = outdated(known, folder)
        if stale:
            raise click.ClickException(f"not current in {folder}: {', '.join(stale)}; run `dataharvest topics doc`")
    else:
        try:
            for path in write_documents(known, folder):
                click.echo(f"changed: {folder / path}")
        except OSError as error:
            raise click.ClickException(f"{folder} cannot be written: {error.strerror}") from error
    click.echo(f"{folder} is current")


def _changes(broker: str) -> "list[Change]":
    from dataharvest.adapters.kafka_admin import existing_topics
    from dataharvest.topics import difference, load_topics

    return difference(load_topics().values(), asyncio.run(existing_topics(broker)))


def _show(changes: "list[Change]") -> None:
    for change in changes:
        click.echo(change.sentence)
    if not changes:
        click.echo("all topics are as they should be")
