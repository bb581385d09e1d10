"""`dataharvest recompute`: compute past sets again after a transformer has changed."""

import asyncio
import json
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from dataharvest.cli.asking import (
    DAY,
    TRANSFORMER,
    NotEmpty,
    TenantName,
    by_option,
    json_option,
    opened_database,
    plan_option,
    quiet_libraries,
)
from dataharvest.cli.recompute_text import Answer, print_answers, print_history, row_of
from dataharvest.errors import Rejected

if TYPE_CHECKING:
    from dataharvest.replaying.recompute import Recomputed
    from dataharvest.services import Connected
    from dataharvest.transformers import Transformer

_REASON = "its logic has changed"
_LISTED = 100


class Job(NamedTuple):
    """What the command was told."""

    name: str
    tenant: str | None
    day: date | None
    even_if_same: bool
    is_plan: bool
    reason: str
    by: str


@click.command("recompute")
@click.option("--transformer", "name", type=TRANSFORMER, help="Whose logic has changed.")
@click.option("--tenant", type=TenantName(), help="Only this tenant's sets; without it, everybody's.")
@click.option("--date", "day", type=DAY, help="Only the sets of this business date; without it, of all.")
@click.option("--even-if-same", is_flag=True, help="Also sets that this version of the logic has computed already.")
@click.option("--history", "is_history", is_flag=True, help="Show who had which sets computed again, when and why.")
@click.option("--reason", type=NotEmpty(), default=_REASON, show_default=True, help="Why; kept in the history.")
@by_option
@plan_option
@json_option
def recompute(  # noqa: PLR0913
    *,
    name: str | None,
    tenant: str | None,
    day: datetime | None,
    even_if_same: bool,
    is_history: bool,
    reason: str,
    by: str,
    is_plan: bool,
    as_json: bool,
) -> None:
    """Compute past sets again and publish what comes out differently, as a new version of each set.

    Raise the transformer's logic_version, install it, start the workers anew, and look at --plan first.
    """
    date_only = day.date() if day else None
    if is_history:
        if even_if_same or is_plan:
            raise click.UsageError("--history changes nothing: it takes neither --plan nor --even-if-same")
        print_history(asyncio.run(_history(name, tenant, date_only)), as_json=as_json)
        return
    if name is None:
        raise click.UsageError(f"say which --transformer has changed: {', '.join(TRANSFORMER.names())}")
    _recompute(Job(name, tenant, date_only, even_if_same, is_plan, reason, by), as_json=as_json)


def _recompute(job: Job, *, as_json: bool) -> None:
    from dataharvest.transformers import all_transformers

    transformer = all_transformers()[job.name]
    answers = asyncio.run(_work(job, transformer))
    if not answers:
        raise click.UsageError("no such set has a version yet; `dataharvest status` shows what has arrived")
    if as_json:
        click.echo(json.dumps([row_of(one) for one in answers], indent=1, ensure_ascii=False))
    else:
        print_answers(answers, transformer, is_plan=job.is_plan)
    sys.exit(1 if any(one.failure for one in answers) else 0)


async def _work(job: Job, transformer: "Transformer") -> list[Answer]:
    from dataharvest.adapters.postgres.recompute import PostgresComputedSets
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.replaying.recompute import reason_to_leave
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    quiet_libraries()
    connected = connect(load_settings(), role="recompute")
    try:
        await require_current_schema(connected.database)
        found = await PostgresComputedSets(connected.database).find(transformer.name, tenant=job.tenant, day=job.day)
        answers = [Answer(computed=one) for one in found]
        for one in answers:
            one.left = reason_to_leave(one.computed, transformer=transformer, even_if_same=job.even_if_same)
            if one.left is None:
                await _do(one, connected, transformer, job)
        return answers
    finally:
        await connected.close()


async def _do(answer: Answer, connected: "Connected", transformer: "Transformer", job: Job) -> None:
    from dataharvest.outbound import all_outbound
    from dataharvest.quarantine import Signature
    from dataharvest.replaying.recompute import compute_again, foretell

    services = connected.services
    if job.is_plan:
        outbound = all_outbound().values()
        answer.forecast = await foretell(answer.computed, transformer=transformer, outbound=outbound, work=services.work)
        return
    try:
        by = Signature(who=job.by, why=job.reason)
        await compute_again(answer.computed, transformer=transformer, by=by, sets=services.sets, sender=services.sender)
    except Rejected as reason:
        # One set's trouble; the others can still be computed.
        answer.failure = reason.message


async def _history(name: str | None, tenant: str | None, day: date | None) -> "list[Recomputed]":
    from dataharvest.adapters.postgres.recompute import PostgresComputedSets

    async with opened_database(name="recompute") as database:
        return await PostgresComputedSets(database).history(name, tenant=tenant, day=day, limit=_LISTED)
