"""What `dataharvest replay` does: opens the services, plans or sends, and says how far it got."""

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dataharvest.cli import Failure, replay_text
from dataharvest.cli.asking import opened_database
from dataharvest.cli.replay_bench import Bench, WorkersBacklog, open_bench
from dataharvest.cli.replay_choosing import Chosen, chosen_by
from dataharvest.cli.replay_plan_text import print_plan
from dataharvest.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from dataharvest.replaying.effects import Effects
    from dataharvest.replaying.requests import Replay, Request

EXIT_TROUBLE, EXIT_INTERRUPTED = 1, 130
_SMALL_BACKLOG = 100


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command was told."""

    request: "Request | None"
    resume: int | None
    rate: float | None
    by: str
    is_plan: bool
    as_json: bool


async def show_list(*, as_json: bool) -> None:
    """Print the last replays."""
    from dataharvest.adapters.postgres.replays import PostgresReplays

    async with opened_database(name="replay") as database:
        replay_text.print_list(await PostgresReplays(database).newest(), as_json=as_json)


async def work(job: Job) -> int:
    """Plan or send; the exit code."""
    async with open_bench() as bench:
        try:
            return await (_plan(bench, job) if job.is_plan else _send(bench, job))
        except Rejected as reason:
            # What was asked for does not exist.
            raise click.UsageError(reason.message) from reason


async def _plan(bench: Bench, job: Job) -> int:
    replay = await _resumed(bench, job)
    request = replay.request if replay else job.request
    assert request is not None
    chosen = await chosen_by(bench, request, replay)
    print_plan(request, await _effects(bench, chosen), chosen.gone, as_json=job.as_json)
    return 0


async def _effects(bench: Bench, chosen: Chosen) -> "Effects":
    from dataharvest.replaying.foretelling import BucketUploads, foretell, foretell_from_s3

    if chosen.chunks is not None:
        return await foretell_from_s3(chosen.chunks, ledger=bench.ledger)
    services = bench.connected.services
    uploads = BucketUploads(services.bucket, services.objects, services.deliveries, services.manifests)
    return await foretell(chosen.source, chosen.parts, ledger=bench.ledger, uploads=uploads)


async def _send(bench: Bench, job: Job) -> int:
    replay = await _resumed(bench, job)
    request = replay.request if replay else job.request
    assert request is not None
    async with bench.replays.alone(request.topic) as alone:
        if not alone:
            raise Failure(f"{request.topic} is being replayed by somebody else; `dataharvest replay --list` shows it")
        # As it is now: whoever had it a moment ago may have moved it.
        replay = await _resumed(bench, job)
        chosen = await chosen_by(bench, request, replay)
        replay_text.say_gone(request, chosen.gone)
        if replay is None:
            if not chosen.parts:
                replay_text.say_nothing_there(request)
                return 0
            replay = await bench.replays.begin(request, chosen.parts, by=job.by)
        return await _run(bench, job, replay, chosen)


async def _run(bench: Bench, job: Job, replay: "Replay", chosen: Chosen) -> int:
    from dataharvest.replaying.pace import Courtesy, Pace
    from dataharvest.replaying.run import Runner

    settings, stop = bench.settings, asyncio.Event()
    rate = job.rate or settings.replay_messages_per_s
    pace = Pace(rate, settings.replay_bytes_per_s)
    # What a message leads to comes on `progress`. Workers acknowledge twice a second, so a second's worth is always before them.
    backlog = WorkersBacklog(settings.broker, topics=(replay.request.topic, "progress"), log=bench.log)
    courtesy = Courtesy(backlog, limit=max(_SMALL_BACKLOG, round(2 * rate)))
    _stop_on_signals(stop)
    with replay_text.progress(replay) as show, replay_text.waiting_told():
        runner = Runner(bench.replays, bench.connected.sender, pace, courtesy, stop, show)
        try:
            moved = await runner.run(replay, chosen.source)
        except Unavailable as outage:
            raise Unavailable(f"{outage.message}; go on with: dataharvest replay --resume {replay.replay_id}") from outage
    if not moved.left:
        await bench.replays.end(moved.replay_id)
    replay_text.print_result(moved, sent_before=replay.sent_count, troubles=chosen.troubles, as_json=job.as_json)
    if chosen.troubles:
        return EXIT_TROUBLE
    return EXIT_INTERRUPTED if moved.left else 0


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        # A second one ends the program at once: a service that is gone must not keep anybody.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)


async def _resumed(bench: Bench, job: Job) -> "Replay | None":
    if job.resume is None:
        return None
    replay = await bench.replays.find(job.resume)
    if replay is None:
        raise Rejected(f"there is no replay {job.resume}; `dataharvest replay --list` shows them", rule="unknown_replay")
    if replay.ended_at is not None:
        raise Rejected(f"replay {job.resume} was done on {replay.ended_at:%F %T} UTC", rule="replay_done")
    return replay
