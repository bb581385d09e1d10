"""The composition root: settings, adapters, the Faust application, and the loops beside its agents."""

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.cli.worker import worker as worker_command

from dataharvest import pipeline, tracing
from dataharvest.adapters.kafka_admin import existing_topics
from dataharvest.adapters.postgres.schema import require_current_schema
from dataharvest.data_directory import claim_data_directory
from dataharvest.delivery import Delivery, run_loop, until_available
from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.faust_repairs import CompleteAssignor, arm, require_pinned_versions
from dataharvest.liveness import keep_beating
from dataharvest.logs import logging_config, writes_json
from dataharvest.measuring import Measuring
from dataharvest.metrics_endpoint import serve_metrics
from dataharvest.rulebook import all_rules, require_sound_rules
from dataharvest.services import Connected, connect
from dataharvest.settings import APP_ID, Settings, home
from dataharvest.stages.notify import send_notifications
from dataharvest.stages.split_deliveries import SplitLoop
from dataharvest.suspects import Suspects
from dataharvest.topics import load_topics, verify
from dataharvest.watchdog import Vitals, Watchdog

logger = logging.getLogger(__name__)

_SETTLE_LOOK_S = 0.2
_MEASURE_S = 15.0
_TELL_S = 1.0


class HarvestWorker(faust.Worker):
    """Faust's worker without its spinner, which writes control characters into logs and raises the log level."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None


def _say_nothing(*_: Any) -> None:
    """Instead of Faust's banner, which would stand between lines of JSON."""


class _NoWebServer(BootStrategy):
    """Keeps Faust's web server off: the worker command switches it on again whatever the settings say."""

    enable_web = False


class HarvestApp(faust.App):
    """A Faust application that opens its services and checks what it stands on before it takes the first message."""

    BootStrategy = _NoWebServer
    connected: Connected
    settings: Settings
    close_metrics: Callable[[], None] | None = None
    watchdog: Watchdog | None = None

    async def on_start(self) -> None:
        """Wait for PostgreSQL and Kafka; refuse to start on a wrong schema or topic."""
        await super().on_start()
        logger.info("worker starts", extra={"pid": os.getpid(), "broker": self.settings.broker})
        await until_available(self._require_schema, what="PostgreSQL")
        await until_available(self._require_topics, what="Kafka")
        await until_available(self.connected.journal.start_run, what="PostgreSQL")
        # What is there now stays as long as the worker does. Left where it is, it would be gone through each time that a batch
        # of a large set has made its hundreds of thousands of messages.
        gc.collect()
        gc.freeze()
        self.close_metrics = serve_metrics(self.settings.metrics_port, host=self.settings.metrics_host)
        tracing.switch_on_for(self.settings.traces_url)

    async def stop(self) -> None:
        """End, within a bounded time."""
        if self.watchdog is not None:
            self.watchdog.expect_end()
        await super().stop()

    async def on_shutdown(self) -> None:
        """Say farewell, so that nobody takes this worker for one that died."""
        await super().on_shutdown()
        try:
            await self.connected.journal.end_run()
        except Unavailable as outage:
            # Without a farewell the next worker is a little more careful than it needs to be, and nothing else.
            logger.warning("ended without a farewell", extra={"reason": str(outage)})
        await self.connected.close()
        if self.close_metrics is not None:
            self.close_metrics()
        await asyncio.to_thread(tracing.switch_off)
        # Last: to close a connection whose other end is gone can take for ever.
        if self.watchdog is not None:
            self.watchdog.stop()

    async def _require_schema(self) -> None:
        await require_current_schema(self.connected.database)

    async def _require_topics(self) -> None:
        problems = verify(load_topics().values(), await existing_topics(self.settings.broker))
        if problems:
            raise Misconfigured("; ".join(problems))


def build_app(settings: Settings) -> HarvestApp:
    """The application of a worker; nothing is contacted before it starts."""
    require_pinned_versions()
    require_sound_rules(all_rules().values())
    CompleteAssignor.partition_counts = {name: topic.partitions for name, topic in load_topics().items()}
    if writes_json(settings.log_format):
        worker_command.on_worker_created = _say_nothing  # type: ignore[method-assign, assignment]
    app = HarvestApp(
        APP_ID,
        broker=[f"kafka://{address.strip()}" for address in settings.broker.split(",")],
        store="rocksdb://",
        datadir=claim_data_directory(settings.data_dir or home() / "tables" / APP_ID),
        Worker=HarvestWorker,
        PartitionAssignor=CompleteAssignor,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 5,
        broker_rebalance_timeout=60,
        # Short: a rebalance or kill repeats what is uncommitted.
        broker_commit_interval=0.5,
        # An idle worker would otherwise leave the group for good.
        broker_max_poll_interval=timedelta(days=1).total_seconds(),
        stream_buffer_maxsize=32,
        producer_max_request_size=4 << 20,
        table_standby_replicas=0,
        logging_config=logging_config(settings.log_format),
    )
    app.settings = settings
    app.connected = connect(settings, role="worker")
    delivery = _delivery(app)
    pipeline.attach(app, app.connected.services, delivery, table_partitions=load_topics()[pipeline.TABLE_TOPIC].partitions)
    _add_loops(app)
    if settings.watchdog_s:
        _watch(app, delivery)
    return app


def _watch(app: HarvestApp, delivery: Delivery) -> None:
    vitals = delivery.vitals = Vitals(limit_s=app.settings.watchdog_s)

    async def beat() -> None:
        vitals.revive()
        app.watchdog = Watchdog(vitals, broker=app.settings.broker, loop=asyncio.get_running_loop())
        app.watchdog.start()
        await keep_beating(app, vitals, topics=pipeline.CONSUMED)

    app.task(beat)


def _delivery(app: HarvestApp) -> Delivery:
    services = app.connected.services
    suspects = Suspects(app.connected.journal)
    delivery = Delivery(app=app, dead_letters=services.dead_letters, suspects=suspects)
    arm(app, delivery.tripwire)

    async def forget(*_: object, **__: object) -> None:
        suspects.forget()
        services.fold.forget()

    app.on_partitions_assigned.connect(forget, weak=False)
    return delivery


def _add_loops(app: HarvestApp) -> None:
    settings, services = app.settings, app.connected.services

    def stopping() -> bool:
        return bool(app.should_stop)

    if settings.split_in_worker:

        async def split() -> None:
            loop = split_loop(app.connected, settings, stopping=stopping)
            await run_loop(loop.run, name="split", stopping=stopping)

        app.task(split)

    async def decide_later() -> None:
        async def step() -> None:
            await asyncio.sleep(_SETTLE_LOOK_S)
            await services.decisions.decide_settled()

        await run_loop(step, name="settle", stopping=stopping)

    app.task(decide_later)

    async def sweep_now_and_then() -> None:
        async def step() -> None:
            await asyncio.sleep(settings.sweep_interval_s)
            await services.sweep.once()

        await run_loop(step, name="sweep", stopping=stopping)

    app.task(sweep_now_and_then)

    async def tell() -> None:
        async def step() -> None:
            await send_notifications(services.notifications, sender=services.sender)
            await asyncio.sleep(_TELL_S)

        await run_loop(step, name="tell", stopping=stopping)

    app.task(tell)

    async def call_webhooks() -> None:
        try:
            await run_loop(app.connected.webhooks.step, name="webhooks", stopping=stopping)
        finally:
            app.connected.webhooks.abandon()

    app.task(call_webhooks)

    if settings.metrics_port is not None:

        async def measure() -> None:
            await measuring_loop(app.connected.measuring, stopping=stopping)

        app.task(measure)


async def measuring_loop(measuring: Measuring, *, stopping: Callable[[], bool]) -> None:
    """Keep the gauges of this process young, until told to stop; an outage leaves them as they were."""

    async def step() -> None:
        await measuring.refresh()
        await asyncio.sleep(_MEASURE_S)

    await run_loop(step, name="measure", stopping=stopping)


def split_loop(
    connected: Connected, settings: Settings, *, stopping: Callable[[], bool], come_round: Callable[[], None] = lambda: None
) -> SplitLoop:
    """The splitters' loop, for a worker or a process of its own."""
    services = connected.services
    return SplitLoop(
        splitter=services.splitter,
        deliveries=services.deliveries,
        sender=services.sender,
        concurrency=settings.split_concurrency,
        stopping=stopping,
        come_round=come_round,
    )
