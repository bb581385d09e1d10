"""What a replay would do, as a person and a program read it."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dataharvest.cli.replay_text import say_gone, size_text
from dataharvest.rules.text import counted

if TYPE_CHECKING:
    from dataharvest.replaying.choosing import Gone
    from dataharvest.replaying.effects import Effects
    from dataharvest.replaying.requests import Request

_SHOWN_SETS = 20


def print_plan(request: "Request", effects: "Effects", gone: "Sequence[Gone]", *, as_json: bool) -> None:
    """What would be sent, and what that would do."""
    if as_json:
        click.echo(json.dumps(_plan_row(request, effects, gone), indent=1, ensure_ascii=False))
        return
    where = "the bucket" if request.from_s3 else request.topic
    click.echo(
        f"{counted(effects.message_count, 'message')} of {where}, {size_text(effects.byte_count)}, "
        f"about {counted(len(effects.deliveries), 'delivery', 'deliveries')} and {counted(len(effects.sets), 'set')}"
    )
    if effects.copy_count:
        click.echo(
            f"  left out: {counted(effects.copy_count, 'copy', 'copies')} that earlier replays made of messages in the range"
        )
    if effects.unreadable_count:
        click.echo(f"  unreadable: {effects.unreadable_count:,}, they would be dead-lettered again")
    for line in _names("sets", sorted(f"{one.tenant} {one.business_date}" for one in effects.sets)):
        click.echo(line)
    say_gone(request, gone)
    _print_effects(effects)


def _print_effects(effects: "Effects") -> None:
    if not effects.acts:
        click.echo("nothing would be published: every stage knows all of it already")
        return
    for what, count in effects.acting.items():
        click.echo(f"  {count:,} {what}")
    names = sorted(f"{one.tenant} {one.business_date}" for one in effects.acting_sets) + sorted(effects.new_keys)
    for line in _names("could go on and publish what changed", names):
        click.echo(line)


def _names(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _SHOWN_SETS:,} more" if len(names) > _SHOWN_SETS else ""
    return [f"  {what}: {', '.join(names[:_SHOWN_SETS])}{more}"] if names else []


def _plan_row(request: "Request", effects: "Effects", gone: "Sequence[Gone]") -> dict[str, Any]:
    sets = [{"tenant": one.tenant, "business_date": one.business_date.isoformat()} for one in sorted(effects.sets)]
    acting = [{"tenant": one.tenant, "business_date": one.business_date.isoformat()} for one in sorted(effects.acting_sets)]
    return {
        "request": request.model_dump(mode="json", exclude_none=True),
        "messages": effects.message_count,
        "bytes": effects.byte_count,
        "copies_left_out": effects.copy_count,
        "unreadable": effects.unreadable_count,
        "deliveries": sorted(effects.deliveries),
        "sets": sets,
        "gone": [{"partition": one.partition, "from_offset": one.span.start, "to_offset": one.span.stop} for one in gone],
        "would_act": dict(effects.acting),
        "would_register": sorted(effects.new_keys),
        "could_publish": acting,
    }
