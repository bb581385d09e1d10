"""The journey on one page: one agent per stage, in order; no logic."""

from functools import partial

import faust
from faust.types import StreamT

from dataharvest.delivery import Delivery
from dataharvest.ports import Position
from dataharvest.services import Services
from dataharvest.stages.fan_out import fan_out
from dataharvest.stages.notify import notify
from dataharvest.stages.persist import persist_in_turn
from dataharvest.stages.register import register
from dataharvest.stages.work import work_on

TABLE_TOPIC, TABLE_NAME = "progress", "sets"
CONSUMED = ("uploads", "chunks", "progress", "readiness", "work", "notifications")
STAGES = ("register", "persist", "fold", "fan_out", "work", "notify")
"""Names of the agents, by which dead letters say who refused them."""

Stream = StreamT[bytes]


def attach(app: faust.App, services: Services, delivery: Delivery, *, table_partitions: int) -> None:
    """Give the application its agents, in the order of the journey. Splitting and calling webhooks are loops, not agents."""
    uploads, chunks, progress, readiness, work, notifications = (
        # Messages are decoded inside `deliver`, where a bad one is dead-lettered.
        app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for name in CONSUMED
    )
    # A chunk is up to 4 MiB: few of a partition may wait. `app.topic` would take this number and forget it.
    chunks.maxsize = 4
    sets = app.Table(TABLE_NAME, key_type=bytes, partitions=table_partitions, default=None)

    @app.agent(uploads, name="register", isolated_partitions=True)
    async def register_deliveries(stream: Stream) -> None:
        async def handle(value: bytes, _: Position) -> None:
            await register(
                value,
                bucket=services.bucket,
                objects=services.objects,
                deliveries=services.deliveries,
                manifests=services.manifests,
                contracts=services.contracts,
            )

        await delivery.run(stream, handle, stage="register")

    @app.agent(chunks, name="persist", isolated_partitions=True)
    async def persist_chunks(stream: Stream) -> None:
        handle = partial(
            persist_in_turn,
            slots=services.slots,
            chunks=services.chunks,
            deliveries=services.deliveries,
            sender=services.sender,
        )
        await delivery.run(stream, handle, stage="persist")

    @app.agent(progress, name="fold", isolated_partitions=True)
    async def fold_progress(stream: Stream) -> None:
        async def handle(value: bytes, _: Position) -> None:
            await services.fold.fold(value, table=sets)

        await delivery.run(stream, handle, stage="fold")

    @app.agent(readiness, name="fan_out", isolated_partitions=True)
    async def fan_out_rules(stream: Stream) -> None:
        async def handle(value: bytes, _: Position) -> None:
            await fan_out(value, work=services.work, sender=services.sender, at_once=services.at_once)

        await delivery.run(stream, handle, stage="fan_out")

    @app.agent(work, name="work", isolated_partitions=True)
    async def work_on_batches(stream: Stream) -> None:
        async def handle(value: bytes, _: Position) -> None:
            await work_on(value, work=services.work, sender=services.sender, judge=services.judge)

        await delivery.run(stream, handle, stage="work")

    @app.agent(notifications, name="notify", isolated_partitions=True)
    async def notify_tenants(stream: Stream) -> None:
        async def handle(value: bytes, _: Position) -> None:
            await notify(value, contracts=services.contracts, calls=services.webhook_calls)

        await delivery.run(stream, handle, stage="notify")
