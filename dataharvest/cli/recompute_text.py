"""Recomputing as a person and a program read it: what becomes of each set, and what was done before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dataharvest.rules.text import counted

if TYPE_CHECKING:
    from dataharvest.replaying.recompute import ComputedSet, Forecast, Recomputed
    from dataharvest.transformers import Transformer

_SHOWN_REFERENCES = 10


@dataclass(kw_only=True)
class Answer:
    """What becomes, or would become, of one set."""

    computed: "ComputedSet"
    left: str | None = None
    """Why it is left as it is."""
    failure: str | None = None
    forecast: "Forecast | None" = None


def print_answers(answers: Sequence[Answer], transformer: "Transformer", *, is_plan: bool) -> None:
    """What became, or would become, of each set."""
    for one in answers:
        subject = f"{one.computed.key.tenant} {one.computed.key.business_date}"
        if one.left is not None:
            click.echo(f"{subject}: left as it is, {one.left}")
        elif one.failure is not None:
            click.echo(f"{subject}: {one.failure}", err=True)
        elif one.forecast is not None:
            _print_forecast(subject, one.computed, one.forecast)
        else:
            click.echo(f"{subject}: version {one.computed.version + 1} is being made")
    due_count = sum(one.left is None and one.failure is None for one in answers)
    what = f"{transformer.name}, version {transformer.logic_version} of its logic"
    sets = counted(due_count, "set")
    if is_plan:
        click.echo(f"{what}: {sets} would be computed again; nothing was changed")
    elif due_count:
        click.echo(f"{what}: {sets} for the workers to compute again; `dataharvest status` shows how far they are")


def _print_forecast(subject: str, computed: "ComputedSet", forecast: "Forecast") -> None:
    if not computed.batch_count:
        click.echo(f"{subject}: would be computed for the first time")
        return
    old = ", ".join(map(str, computed.logic_versions)) or "no"
    click.echo(f"{subject}: version {computed.version}, values of logic version {old}; {_changes(forecast)}")
    shown = ", ".join(forecast.changed[:_SHOWN_REFERENCES])
    if forecast.changed:
        click.echo(f"  {shown}{', …' if len(forecast.changed) > _SHOWN_REFERENCES else ''}")


def _changes(forecast: "Forecast") -> str:
    if not forecast.changed:
        return f"none of {forecast.value_count:,} values would change, nothing would be published"
    published = ", ".join(f"{count:,} of {topic}" for topic, count in forecast.messages.items())
    return f"{len(forecast.changed):,} of {forecast.value_count:,} values would change, published again: {published or 'nothing'}"


def row_of(one: Answer) -> dict[str, Any]:
    """The same of one set, for a program."""
    row = {
        "tenant": one.computed.key.tenant,
        "business_date": one.computed.key.business_date.isoformat(),
        "version": one.computed.version,
        "logic_versions": list(one.computed.logic_versions),
        "left": one.left,
        "failure": one.failure,
    }
    if one.forecast is None:
        return row
    return {
        **row,
        "values": one.forecast.value_count,
        "changed": list(one.forecast.changed),
        "would_publish": dict(one.forecast.messages),
    }


def print_history(found: "Sequence[Recomputed]", *, as_json: bool) -> None:
    """Who had which sets computed again, when and why."""
    if as_json:
        click.echo(json.dumps(list(map(_history_row, found)), indent=1, ensure_ascii=False))
        return
    for one in found:
        click.echo(_history_line(one))
    if not found:
        click.echo("nothing was computed again")


def _history_line(one: "Recomputed") -> str:
    made = f"version {one.version}" if one.version else "its version is not made yet"
    subject = f"{one.key.tenant} {one.key.business_date}"
    logic = f"{one.transformer}, version {one.logic_version} of its logic"
    return f"{one.at:%F %T} UTC  {subject}: {made}, {logic}, by {one.by.who}: {one.by.why}"


def _history_row(one: "Recomputed") -> dict[str, Any]:
    return {
        "at": one.at.isoformat(),
        "tenant": one.key.tenant,
        "business_date": one.key.business_date.isoformat(),
        "transformer": one.transformer,
        "logic_version": one.logic_version,
        "version": one.version,
        "by": one.by.who,
        "reason": one.by.why,
    }
