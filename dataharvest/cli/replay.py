"""`dataharvest replay`: send a range of a topic once more."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import click

from dataharvest.cli.asking import DAY, TenantName, by_option, json_option, plan_option

EXIT_INTERRUPTED = 130


class Moment(click.ParamType):
    """A moment in ISO 8601; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time like 2026-11-23T18:00:00+01:00", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


OFFSET = click.IntRange(0, (1 << 62) - 1)


@click.command("replay")
@click.argument("topic", required=False)
@click.option("--partition", type=click.IntRange(0, 1 << 30), help="Only this partition; without it, all of them.")
@click.option("--from-offset", type=OFFSET, help="First offset; 0 is everything the topic still has.")
@click.option("--to-offset", type=OFFSET, help="Where to end; this offset is left out.")
@click.option("--from-time", type=Moment(), help="First moment, ISO 8601; without a zone it is UTC.")
@click.option("--to-time", type=Moment(), help="Where to end; what came at this moment is left out.")
@click.option("--tenant", type=TenantName(), help="Only what is about this tenant; without a range, looked up in the ledger.")
@click.option("--date", "business_date", type=DAY, help="Only what is about this business date.")
@click.option("--from-s3", is_flag=True, help="Read the chunks from the files in the bucket instead of the topic.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Messages per second, at most.  [default: the setting]")
@click.option(
    "--resume", type=click.IntRange(1, (1 << 62) - 1), metavar="NUMBER", help="Go on with a replay that was interrupted."
)
@click.option("--list", "is_list", is_flag=True, help="Show the last replays and how far they are.")
@by_option
@plan_option
@json_option
def replay(*, rate: float | None, resume: int | None, is_list: bool, by: str, is_plan: bool, as_json: bool, **asked: Any) -> None:
    """Send a range of TOPIC once more, while workers run: what is known already changes nothing.

    TOPIC is uploads, chunks, progress, readiness, work or notifications. Ctrl-C interrupts, --resume goes on.
    """
    from dataharvest.cli import replay_work

    if is_list or resume is not None:
        if any(value not in (None, False) for value in asked.values()) or (is_list and (resume or is_plan)):
            raise click.UsageError("--list and --resume take no topic and no range")
    elif asked["topic"] is None:
        raise click.UsageError("say which TOPIC: uploads, chunks, progress, readiness, work or notifications")
    if is_list:
        asyncio.run(replay_work.show_list(as_json=as_json))
        return
    request = None if resume is not None else _request(asked)
    job = replay_work.Job(request=request, resume=resume, rate=rate, by=by, is_plan=is_plan, as_json=as_json)
    sys.exit(asyncio.run(replay_work.work(job)))


def _request(asked: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from dataharvest.replaying.requests import Request

    day = asked.pop("business_date")
    try:
        return Request(**asked, business_date=day.date() if day else None)
    except ValidationError as error:
        raise click.UsageError("; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())) from error
