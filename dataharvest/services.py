"""The outside world of one process: adapters behind their ports, opened and closed together."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import SecretStr

from dataharvest.adapters.http_caller import HttpCaller
from dataharvest.adapters.kafka import KafkaDeadLetters, KafkaSender
from dataharvest.adapters.kafka_admin import KafkaConsumption
from dataharvest.adapters.postgres.chunks import PostgresChunks
from dataharvest.adapters.postgres.connection import NO_SETTINGS, PLANNED_ONCE, Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.judgement import PostgresJudgements
from dataharvest.adapters.postgres.manifests import PostgresManifests
from dataharvest.adapters.postgres.measurements import PostgresMeasurements
from dataharvest.adapters.postgres.notifications import PostgresNotifications, PostgresWebhookCalls
from dataharvest.adapters.postgres.operations import PostgresJournal
from dataharvest.adapters.postgres.quarantine import PostgresQuarantine
from dataharvest.adapters.postgres.removal import PostgresRemovals
from dataharvest.adapters.postgres.sets import PostgresSets
from dataharvest.adapters.postgres.summaries import Summaries
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.adapters.postgres.tenants import PostgresTenants
from dataharvest.adapters.postgres.work import PostgresWork
from dataharvest.adapters.s3 import ANSWER_S, S3ObjectStore, s3_client
from dataharvest.measuring import Measuring
from dataharvest.notifications import Notifications, WebhookCalls
from dataharvest.objects import ObjectStore
from dataharvest.ports import Chunks, Contracts, DeadLetters, Deliveries, Quarantine, Sender, Sets, Work
from dataharvest.rulebook import all_rules, required_entities
from dataharvest.rules.batching import SMALL_RECORDS
from dataharvest.settings import APP_ID, Settings
from dataharvest.stages.call_webhooks import WebhookLoop
from dataharvest.stages.decide import Decisions
from dataharvest.stages.do_at_once import DoAtOnce
from dataharvest.stages.fold import Fold
from dataharvest.stages.judge import Judge
from dataharvest.stages.judge_at_once import JudgeAtOnce
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.stages.repair import Repairs
from dataharvest.stages.slots import Slots
from dataharvest.stages.split import Splitter
from dataharvest.stages.sweep import Sweep, full_sweep
from dataharvest.stages.sweep_deliveries import SweptDeliveries
from dataharvest.stages.sweep_effects import SweptSets
from dataharvest.stages.window import Limits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUSY_ROLES = ("worker", "split")
_PART_BESIDE_OTHERS, _BYTES_BESIDE_OTHERS = 4, 2 << 20
"""Of one tenant's chunks a quarter may be under way then, and of its bytes for each core as many: a chunk of a large file."""


@dataclass
class Services:
    """Everything that the stages are given."""

    bucket: str
    objects: ObjectStore
    sender: Sender
    deliveries: Deliveries
    manifests: ManifestRegister
    contracts: Contracts
    chunks: Chunks
    slots: Slots
    sets: Sets
    work: Work
    quarantine: Quarantine
    repairs: Repairs
    dead_letters: DeadLetters
    notifications: Notifications
    webhook_calls: WebhookCalls
    decisions: Decisions
    fold: Fold
    judge: Judge
    at_once: DoAtOnce
    splitter: Splitter
    sweep: Sweep


@dataclass
class Connected:
    """The services of a process together with what has to be opened and closed."""

    services: Services
    database: Database
    sender: KafkaSender
    journal: PostgresJournal
    measuring: Measuring
    webhooks: WebhookLoop
    caller: HttpCaller

    async def close(self) -> None:
        """Flush what is being sent and end all connections."""
        await self.caller.close()
        await self.sender.close()
        await self.database.close()


def connect(settings: Settings, *, role: str) -> Connected:
    """The real adapters; nothing is contacted before it is used."""
    # Short: PostgreSQL keeps 63 characters of an application's name, and the run is recognised by it.
    run_id = f"{role}-{os.getpid()}-{uuid4().hex[:12]}"
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        application_name=f"dataharvest {run_id}",
        settings=PLANNED_ONCE if role in _BUSY_ROLES else NO_SETTINGS,
    )
    sender = KafkaSender(settings.broker)
    objects = S3ObjectStore(s3_client_of(settings))
    deliveries = PostgresDeliveries(database, owner=run_id, chunk_bytes=settings.chunk_bytes, lease_s=settings.lease_s)
    contracts = PostgresContracts(database)
    manifests = ManifestRegister(objects, PostgresManifests(database), sender)
    # One for all: an index that one of them brought up to date need not be looked at by the others.
    summaries = Summaries(database)
    sets = PostgresSets(database, contracts=contracts, summaries=summaries)
    work = PostgresWork(database, summaries=summaries)
    quarantine = PostgresQuarantine(database)
    judgements = PostgresJudgements(database, summaries=summaries, slice_rows=settings.judgement_slice_rows)
    removals = PostgresRemovals(database)
    decisions = Decisions(sets=sets, removals=removals, sender=sender, rules=all_rules(), settle_s=settings.correction_settle_s)
    fold = Fold(
        sets=sets,
        judgements=judgements,
        sender=sender,
        rules=all_rules(),
        decisions=decisions,
        at_once=JudgeAtOnce(judgements=judgements, decisions=decisions, most_records=SMALL_RECORDS),
    )
    splitter = Splitter(
        objects=objects,
        deliveries=deliveries,
        contracts=contracts,
        sender=sender,
        tenants=PostgresTenants(database),
        limits=Limits(
            chunk_count=settings.chunks_in_flight,
            byte_count=settings.chunks_in_flight * settings.chunk_bytes,
            chunks_beside_others=max(1, settings.chunks_in_flight // _PART_BESIDE_OTHERS),
            bytes_beside_others=settings.bytes_beside_others or _BYTES_BESIDE_OTHERS * (os.cpu_count() or 1),
        ),
        max_content_bytes=settings.max_content_bytes,
        lease_s=settings.lease_s,
    )
    state = PostgresSweepState(database)
    consumption = KafkaConsumption(settings.broker, group=APP_ID)
    swept_deliveries = SweptDeliveries(
        bucket=settings.s3_bucket,
        objects=objects,
        deliveries=deliveries,
        manifests=manifests,
        contracts=contracts,
        splitter=splitter,
        sender=sender,
        state=state,
        consumption=consumption,
    )
    notifications = PostgresNotifications(database)
    webhook_calls = PostgresWebhookCalls(database)
    caller = HttpCaller()
    swept_sets = SweptSets(
        notifications=notifications,
        sets=sets,
        work=work,
        judgements=judgements,
        removals=removals,
        decisions=decisions,
        sender=sender,
        rules=all_rules(),
        state=state,
        consumption=consumption,
    )
    services = Services(
        bucket=settings.s3_bucket,
        objects=objects,
        sender=sender,
        deliveries=deliveries,
        manifests=manifests,
        contracts=contracts,
        chunks=PostgresChunks(database, summaries=summaries),
        slots=Slots(settings.chunks_at_once),
        sets=sets,
        work=work,
        quarantine=quarantine,
        repairs=Repairs(quarantine=quarantine, contracts=contracts, objects=objects, sender=sender),
        dead_letters=KafkaDeadLetters(sender, database),
        notifications=notifications,
        webhook_calls=webhook_calls,
        decisions=decisions,
        fold=fold,
        judge=Judge(judgements, deliveries, objects, sender, contracts.version),
        at_once=DoAtOnce(work=work, sender=sender, decisions=decisions, most_records=SMALL_RECORDS),
        splitter=splitter,
        sweep=full_sweep(swept_deliveries, swept_sets, state=state),
    )
    return Connected(
        services=services,
        database=database,
        sender=sender,
        journal=PostgresJournal(database, run_id=run_id),
        measuring=Measuring(PostgresMeasurements(database, required=required_entities()), consumption),
        webhooks=WebhookLoop(webhook_calls, contracts, caller, _plain(settings.webhook_key)),
        caller=caller,
    )


def s3_client_of(settings: Settings, *, answer_s: float = ANSWER_S) -> "S3Client":
    """A client of the bucket's server."""
    return s3_client(
        endpoint_url=settings.s3_endpoint_url,
        access_key=_plain(settings.s3_access_key),
        secret_key=_plain(settings.s3_secret_key),
        region=settings.s3_region,
        answer_s=answer_s,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
