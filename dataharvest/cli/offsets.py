"""`dataharvest offsets`: where the workers' group stands in its topics, and how to set it back."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from dataharvest.cli import Failure
from dataharvest.cli.asking import CONSUMED_TOPIC, json_option, plan_option, quiet_libraries
from dataharvest.cli.replay import OFFSET, Moment
from dataharvest.errors import Rejected

if TYPE_CHECKING:
    from dataharvest.adapters.kafka_offsets import KafkaOffsets
    from dataharvest.replaying.offsets import GroupPosition, Move, Target
    from dataharvest.settings import Settings


@click.group("offsets")
def offsets() -> None:
    """Where the workers stand in their topics; and, while none runs, where they are to begin again."""


@offsets.command("show")
@click.argument("topics", nargs=-1, type=CONSUMED_TOPIC, metavar="[TOPIC]…")
@click.option("--partitions", "each", is_flag=True, help="Show every partition, not only the sums.")
@json_option
def show(topics: Sequence[str], each: bool, as_json: bool) -> None:
    """Show committed offsets and lag: the messages that no worker has acknowledged."""
    from dataharvest.replaying.requests import REPLAYABLE

    topics = topics or REPLAYABLE
    found, member_count = asyncio.run(_positions(topics))
    if as_json:
        click.echo(json.dumps({"members": member_count, "partitions": [_row(one) for one in found]}, indent=1))
        return
    click.echo(f"{member_count} {'worker is' if member_count == 1 else 'workers are'} in the group")
    for topic in topics:
        members = [one for one in found if one.topic == topic]
        click.echo(f"{topic:13} lag {sum(one.lag for one in members):,} in {len(members)} partitions")
        for one in members if each else ():
            committed = "nothing committed" if one.committed is None else f"committed {one.committed:,}"
            click.echo(f"  {one.partition:3}  {committed}, lag {one.lag:,}, topic {one.bounds.start:,} to {one.bounds.stop:,}")


@offsets.command("reset")
@click.argument("topics", nargs=-1, required=True, type=CONSUMED_TOPIC, metavar="TOPIC…")
@click.option("--partition", type=click.IntRange(0, 1 << 30), help="Only this partition; without it, all of them.")
@click.option("--to-earliest", is_flag=True, help="To the first message that the topic still has.")
@click.option("--to-offset", type=OFFSET, help="To this offset.")
@click.option("--to-time", type=Moment(), help="To the first message since then, ISO 8601; without a zone it is UTC.")
@click.option("--skip-unread", is_flag=True, help="Also where messages would be passed that no worker has read.")
@plan_option
@json_option
def reset(
    *,
    topics: Sequence[str],
    partition: int | None,
    to_earliest: bool,
    to_offset: int | None,
    to_time: datetime | None,
    skip_unread: bool,
    is_plan: bool,
    as_json: bool,
) -> None:
    """Let the workers begin again at another offset; refused while one runs.

    Stop the workers, reset, start them: what they read again changes nothing that is known already.
    """
    targets: list[Target] = [one for one in ("earliest" if to_earliest else None, to_offset, to_time) if one is not None]
    if len(targets) != 1:
        raise click.UsageError("say where to: one of --to-earliest, --to-offset and --to-time")
    try:
        found = asyncio.run(_reset(topics, partition, targets[0], is_plan=is_plan, skip_unread=skip_unread))
    except Rejected as reason:
        if reason.rule == "offset_beyond_end":
            raise click.UsageError(reason.message) from reason
        raise
    if as_json:
        click.echo(json.dumps([{**_row(one.position), "target": one.target} for one in found], indent=1))
    else:
        _print_moves(found, is_plan=is_plan)


def _print_moves(found: "Sequence[Move]", *, is_plan: bool) -> None:
    verb = "would be" if is_plan else "is"
    for one in found:
        place = f"{one.position.topic}:{one.position.partition}"
        again = f", {one.again:,} to be read again" if one.again else ""
        skipped = f", {one.skipped:,} unread ones passed" if one.skipped else ""
        click.echo(f"{place} {verb} at {one.target:,}, was at {one.position.next_offset:,}{again}{skipped}")
    if not found:
        click.echo("every partition is there already")
    elif not is_plan:
        click.echo("start the workers; `dataharvest offsets show` tells how far they are")


async def _positions(topics: Sequence[str]) -> "tuple[list[GroupPosition], int]":
    from dataharvest.harvest.workers import member_count
    from dataharvest.settings import APP_ID, load_settings

    quiet_libraries()
    settings = load_settings()
    return await _offsets_of(settings).positions(topics), await member_count(settings.broker, APP_ID)


def _offsets_of(settings: "Settings") -> "KafkaOffsets":
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.adapters.kafka_offsets import KafkaOffsets
    from dataharvest.settings import APP_ID

    return KafkaOffsets(settings.broker, group=APP_ID, log=KafkaLog(settings.broker))


async def _reset(
    topics: Sequence[str], partition: int | None, target: "Target", *, is_plan: bool, skip_unread: bool
) -> "list[Move]":
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.replaying.offsets import moves
    from dataharvest.settings import load_settings

    settings = load_settings()
    positions, member_count = await _positions(list(dict.fromkeys(topics)))
    chosen = [one for one in positions if partition in (None, one.partition)]
    if not chosen:
        raise click.UsageError(f"none of these topics has a partition {partition}")
    found = [one for one in await moves(chosen, target, log=KafkaLog(settings.broker)) if one.target != one.position.committed]
    if is_plan:
        return found
    if member_count:
        raise _still_running(member_count)
    if (skipped := sum(one.skipped for one in found)) and not skip_unread:
        message = f"{skipped:,} messages that no worker has read would be passed for good; if that is meant, add --skip-unread"
        raise Failure(message)
    if found:
        await _offsets_of(settings).commit(found)
    return found


def _still_running(member_count: int) -> Failure:
    who, them = ("1 worker is", "it") if member_count == 1 else (f"{member_count} workers are", "them")
    return Failure(f"{who} in the group: stop {them} first; one that was killed counts until its session has timed out")


def _row(one: "GroupPosition") -> dict[str, object]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "committed": one.committed,
        "lag": one.lag,
        "from_offset": one.bounds.start,
        "to_offset": one.bounds.stop,
    }
