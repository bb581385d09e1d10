"""A harvest from the command line's point of view: exit codes, what is said, and nothing left behind."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.status import PostgresStatus
from dataharvest.adapters.s3 import ANSWER_S, UPLOAD_ANSWER_S, S3ObjectStore, s3_client
from dataharvest.errors import DataHarvestError, Misconfigured
from dataharvest.harvest.display import displayed, say
from dataharvest.harvest.folder import Plan
from dataharvest.harvest.foundation import Foundation
from dataharvest.harvest.journey import Journey
from dataharvest.harvest.outbound import write_lines
from dataharvest.harvest.verdict import LINES_SHOWN, PUBLISHED, verdict_of
from dataharvest.harvest.workers import Workers
from dataharvest.rulebook import all_rules, required_entities
from dataharvest.settings import Settings, home
from dataharvest.status import StatusReport

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMED_OUT = 4
_LAST_LOOK_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was typed."""

    out: Path | None
    timeout_s: float
    worker_count: int


async def harvest(plan: Plan, wishes: Wishes, foundation: Foundation) -> int:
    """Carry out the plan; returns the exit code. Workers that were started have ended when this returns or raises.

    Raises:
        DataHarvestError: a service is missing, a worker refuses to run, or the bucket takes no files.
        OSError: a file cannot be read, or the output cannot be written.
    """
    # Clients of the services log every reconnection; what matters is said in one sentence.
    logging.getLogger().addHandler(logging.NullHandler())
    workers = Workers(logs=home() / "logs")
    try:
        async with _journey(plan, wishes, foundation.settings, workers) as journey:
            return await _travel(journey, wishes, workers)
    finally:
        workers.kill()


async def _travel(journey: Journey, wishes: Wishes, workers: Workers) -> int:
    await journey.prepare()
    try:
        async with asyncio.timeout(wishes.timeout_s) as limit:
            await journey.travel()
    except TimeoutError:
        if not limit.expired():
            raise
        _say_what_is_waited_for(journey, wishes, workers)
        await _quietly_conclude(journey, wishes, workers)
        return TIMED_OUT
    stopping = asyncio.create_task(workers.stop())
    try:
        return await _conclude(journey, wishes)
    finally:
        await stopping


async def _conclude(journey: Journey, wishes: Wishes) -> int:
    report = await journey.report(sample=LINES_SHOWN)
    verdict = verdict_of(report, uploaded=journey.uploaded, manifests=journey.manifests)
    with await journey.messages() as lines:
        count = write_lines(lines, wishes.out)
    for line in (*verdict.problems, *verdict.remarks):
        say(line)
    for key in journey.overwritten:
        say(f"{key}: somebody else wrote or deleted it before it was read")
    _say_what_went_out(journey, report, count, wishes, is_published=verdict.exit_code == PUBLISHED)
    return verdict.exit_code


def _say_what_went_out(journey: Journey, report: StatusReport, count: int, wishes: Wishes, *, is_published: bool) -> None:
    for one in report.sets:
        if one.state == "published":
            say(f"{one.business_date}: version {one.version} is published")
    if count:
        say(f"{count:,} messages{f' in {wishes.out}' if wishes.out else ''}")
    elif is_published and journey.plan.dates:
        same = "the same content was published before" if journey.are_all_repeats else "no value has changed"
        say(f"nothing new: {same}")


def _say_what_is_waited_for(journey: Journey, wishes: Wishes, workers: Workers) -> None:
    waits_for = journey.waits_for() or ["the uploads"]
    say(f"not done after {wishes.timeout_s:g} s; it still waits for:")
    for line in waits_for[:LINES_SHOWN]:
        say(f"  {line}")
    if len(waits_for) > LINES_SHOWN:
        say(f"  … and {len(waits_for) - LINES_SHOWN} more")
    if journey.last_outage:
        say(f"  (last outage: {journey.last_outage})")
    for log in workers.logs:
        say(f"  (what the worker says: {log})")


async def _quietly_conclude(journey: Journey, wishes: Wishes, workers: Workers) -> None:
    """Write what went out so far, and name dead letters, if the services still answer."""
    try:
        async with asyncio.timeout(_LAST_LOOK_S):
            report = await journey.report(sample=0)
            for letter in report.dead_letters:
                say(f"  {letter.count:,} messages of stage {letter.stage} were dead-lettered meanwhile: {letter.rule}")
            with await journey.messages() as lines:
                write_lines(lines, wishes.out)
    except (DataHarvestError, TimeoutError) as error:
        say(f"  (no messages written: {error or 'the services do not answer'})")
    await workers.stop()


@asynccontextmanager
async def _journey(plan: Plan, wishes: Wishes, settings: Settings, workers: Workers) -> AsyncIterator[Journey]:
    database = Database(settings.database_url.get_secret_value(), pool_size=2, application_name="dataharvest harvest")
    objects = S3ObjectStore(_s3_client(settings, ANSWER_S), uploads_by=_s3_client(settings, UPLOAD_ANSWER_S))
    status = PostgresStatus(database, required=required_entities(), rules=list(all_rules().values()))
    try:
        with displayed() as display:
            yield Journey(
                plan=plan,
                settings=settings,
                objects=objects,
                status=status,
                contracts=PostgresContracts(database),
                workers=workers,
                worker_count=wishes.worker_count,
                display=display,
                tell=say,
            )
    finally:
        objects.close()
        await database.close()


def _s3_client(settings: Settings, answer_s: float) -> "S3Client":
    keys = (settings.s3_access_key, settings.s3_secret_key)
    access_key, secret_key = (key.get_secret_value() if key else None for key in keys)
    address, region = settings.s3_endpoint_url, settings.s3_region
    try:
        return s3_client(endpoint_url=address, access_key=access_key, secret_key=secret_key, region=region, answer_s=answer_s)
    except ValueError as error:
        raise Misconfigured(f"S3 cannot be used: {error}") from error
