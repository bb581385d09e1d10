"""`dataharvest recompute`: compute past sets again after a transformer has changed."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from dataharvest.cli.asking import DAY, TRANSFORMER, TenantName, json_option, plan_option, quiet_libraries
from dataharvest.errors import Rejected

if TYPE_CHECKING:
    from dataharvest.replaying.recompute import ComputedSet, Forecast
    from dataharvest.services import Connected
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


@click.command("recompute")
@click.option("--transformer", "name", type=TRANSFORMER, required=True, help="Whose logic has changed.")
@click.option("--tenant", type=TenantName(), help="Only this tenant's sets; without it, everybody's.")
@click.option("--date", "day", type=DAY, help="Only the sets of this business date; without it, of all.")
@click.option("--even-if-same", is_flag=True, help="Also sets that this version of the logic has computed already.")
@plan_option
@json_option
def recompute(*, name: str, tenant: str | None, day: datetime | None, even_if_same: bool, is_plan: bool, as_json: bool) -> None:
    """Compute past sets again and publish what comes out differently, as a new version of each set.

    Raise the transformer's logic_version, install it, start the workers anew, and look at --plan first.
    """
    from dataharvest.transformers import all_transformers

    transformer = all_transformers()[name]
    date_only = day.date() if day else None
    answers = asyncio.run(_work(transformer, tenant, date_only, even_if_same=even_if_same, is_plan=is_plan))
    if not answers:
        raise click.UsageError("no such set has a version yet; `dataharvest status` shows what has arrived")
    if as_json:
        click.echo(json.dumps([_row(one) for one in answers], indent=1, ensure_ascii=False))
    else:
        _print(answers, transformer, is_plan=is_plan)
    sys.exit(1 if any(one.failure for one in answers) else 0)


async def _work(
    transformer: "Transformer", tenant: str | None, day: date | None, *, even_if_same: bool, is_plan: bool
) -> list[Answer]:
    from dataharvest.adapters.postgres.recompute import PostgresComputedSets
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.replaying.recompute import reason_to_leave
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    quiet_libraries()
    connected = connect(load_settings(), role="recompute")
    try:
        await require_current_schema(connected.database)
        found = await PostgresComputedSets(connected.database).find(transformer.name, tenant=tenant, day=day)
        answers = [Answer(computed=one) for one in found]
        for one in answers:
            one.left = reason_to_leave(one.computed, transformer=transformer, even_if_same=even_if_same)
            if one.left is None:
                await _do(one, connected, transformer, is_plan=is_plan)
        return answers
    finally:
        await connected.close()


async def _do(answer: Answer, connected: "Connected", transformer: "Transformer", *, is_plan: bool) -> None:
    from dataharvest.outbound import all_outbound
    from dataharvest.replaying.recompute import compute_again, foretell

    services = connected.services
    if is_plan:
        outbound = all_outbound().values()
        answer.forecast = await foretell(answer.computed, transformer=transformer, outbound=outbound, work=services.work)
        return
    try:
        await compute_again(answer.computed, sets=services.sets, sender=services.sender)
    except Rejected as reason:
        # One set's trouble; the others can still be computed.
        answer.failure = reason.message


def _print(answers: Sequence[Answer], transformer: "Transformer", *, is_plan: bool) -> None:
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
    if is_plan:
        click.echo(f"{what}: {due_count:,} sets would be computed again; nothing was changed")
    elif due_count:
        click.echo(f"{what}: {due_count:,} sets are computed again by the workers; `dataharvest status` shows how far they are")


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


def _row(one: Answer) -> dict[str, Any]:
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
