"""What `dataharvest replay` does: opens the services, plans or sends, and says how far it got."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dataharvest.cli import Failure, replay_text
from dataharvest.cli.asking import opened_database, quiet_libraries
from dataharvest.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.adapters.postgres.replay_ledger import PostgresReplayLedger
    from dataharvest.adapters.postgres.replays import PostgresReplays
    from dataharvest.replaying.choosing import Gone
    from dataharvest.replaying.effects import Effects
    from dataharvest.replaying.ports import KnownChunks
    from dataharvest.replaying.requests import Part, Replay, Request
    from dataharvest.replaying.sources import Source
    from dataharvest.services import Connected
    from dataharvest.settings import Settings

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


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The services of one command."""

    settings: "Settings"
    connected: "Connected"
    log: "KafkaLog"
    ledger: "PostgresReplayLedger"
    replays: "PostgresReplays"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is to be sent and where it comes from."""

    parts: "list[Part]"
    source: "Source"
    gone: "list[Gone]"
    chunks: "dict[int, KnownChunks] | None" = None
    """By delivery, where the bucket is the source."""

    @property
    def troubles(self) -> list[str]:
        """What could not be read."""
        return list(getattr(self.source, "troubles", ()))


@asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.adapters.postgres.replay_ledger import PostgresReplayLedger
    from dataharvest.adapters.postgres.replays import PostgresReplays
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    quiet_libraries()
    settings = load_settings()
    connected = connect(settings, role="replay")
    try:
        await require_current_schema(connected.database)
        yield Bench(
            settings=settings,
            connected=connected,
            log=KafkaLog(settings.broker),
            ledger=PostgresReplayLedger(connected.database),
            replays=PostgresReplays(connected.database),
        )
    finally:
        await connected.close()


async def show_list(*, as_json: bool) -> None:
    """Print the last replays."""
    from dataharvest.adapters.postgres.replays import PostgresReplays

    async with opened_database(name="replay") as database:
        replay_text.print_list(await PostgresReplays(database).newest(), as_json=as_json)


async def work(job: Job) -> int:
    """Plan or send; the exit code."""
    async with _bench() as bench:
        try:
            return await (_plan(bench, job) if job.is_plan else _send(bench, job))
        except Rejected as reason:
            # What was asked for does not exist.
            raise click.UsageError(reason.message) from reason


async def _plan(bench: Bench, job: Job) -> int:
    replay = await _resumed(bench, job)
    request = replay.request if replay else job.request
    assert request is not None
    chosen = await _chosen(bench, request, replay)
    replay_text.print_plan(request, await _effects(bench, chosen), chosen.gone, as_json=job.as_json)
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
        chosen = await _chosen(bench, request, replay)
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


class WorkersBacklog:
    """The port ``Backlog`` on the workers' group."""

    def __init__(self, broker: str, *, topics: Iterable[str], log: "KafkaLog") -> None:
        self._broker = broker
        self._topics = tuple(dict.fromkeys(topics))
        self._log = log

    async def count(self) -> int:
        """See the port."""
        from dataharvest.adapters.kafka_offsets import KafkaOffsets
        from dataharvest.harvest.workers import member_count
        from dataharvest.settings import APP_ID

        if not await member_count(self._broker, APP_ID):
            return 0
        positions = await KafkaOffsets(self._broker, group=APP_ID, log=self._log).positions(self._topics)
        return sum(one.lag for one in positions)


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


async def _chosen(bench: Bench, request: "Request", replay: "Replay | None") -> Chosen:
    from dataharvest.replaying.choosing import choose, gone_since

    if request.from_s3:
        return await _chosen_from_s3(bench, request, replay)
    if replay is not None:
        # The range stays what it was when it began: otherwise the replay would run after its own copies.
        parts = list(replay.parts)
        gone = gone_since(parts, await bench.log.bounds(request.topic))
        return Chosen(parts=parts, source=await _topic_source(bench, request, parts), gone=gone)
    choice = await choose(request, log=bench.log, ledger=bench.ledger)
    return Chosen(parts=choice.parts, source=await _topic_source(bench, request, choice.parts), gone=choice.gone)


async def _topic_source(bench: Bench, request: "Request", parts: "list[Part]") -> "Source":
    from dataharvest.replaying.log import Span
    from dataharvest.replaying.sources import TopicSource
    from dataharvest.replaying.subjects import Wanted

    is_about_objects = request.topic == "uploads" and request.names_sets
    keys = await bench.ledger.object_keys(request.tenant, request.business_date) if is_about_objects else set()
    spans = {one.number: Span(one.start, one.stop) for one in parts}
    return TopicSource(request.topic, bench.log, Wanted(request, object_keys=keys, spans=spans))


async def _chosen_from_s3(bench: Bench, request: "Request", replay: "Replay | None") -> Chosen:
    from dataharvest.replaying.choosing import choose_from_s3
    from dataharvest.replaying.requests import Part
    from dataharvest.replaying.sources import BucketSource

    chunks = await choose_from_s3(request, log=bench.log, ledger=bench.ledger)
    services = bench.connected.services
    source = BucketSource(
        services.objects,
        services.deliveries,
        services.contracts,
        bench.ledger,
        {delivery_id: set(known.indexes) for delivery_id, known in chunks.items()},
    )
    parts = [Part(number, one.indexes[0], one.indexes[-1] + 1, one.indexes[0]) for number, one in chunks.items()]
    return Chosen(parts=list(replay.parts) if replay else parts, source=source, gone=[], chunks=chunks)
