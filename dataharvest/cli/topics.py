"""`dataharvest topics`: compare the broker's topics with the files in ``topics/`` and bring them into line."""

import asyncio
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


def _changes(broker: str) -> "list[Change]":
    from dataharvest.adapters.kafka_admin import existing_topics
    from dataharvest.topics import difference, load_topics

    return difference(load_topics().values(), asyncio.run(existing_topics(broker)))


def _show(changes: "list[Change]") -> None:
    for change in changes:
        click.echo(change.sentence)
    if not changes:
        click.echo("all topics are as they should be")
