"""The outside world of one process: adapters behind their ports, opened and closed together."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import SecretStr

from dataharvest.adapters.kafka import KafkaDeadLetters, KafkaSender
from dataharvest.adapters.postgres.chunks import PostgresChunks
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.deliveries import PostgresDeliveries
from dataharvest.adapters.postgres.operations import PostgresJournal, PostgresSweepState
from dataharvest.adapters.postgres.sets import PostgresSets
from dataharvest.adapters.postgres.work import PostgresWork
from dataharvest.adapters.s3 import S3ObjectStore, s3_client
from dataharvest.objects import ObjectStore
from dataharvest.ports import Chunks, DeadLetters, Deliveries, Sender, Sets, Work
from dataharvest.rulebook import all_rules, required_entities
from dataharvest.settings import Settings
from dataharvest.stages.fold import Fold
from dataharvest.stages.split import Splitter
from dataharvest.stages.sweep import Sweep

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Services:
    """Everything that the stages are given."""

    bucket: str
    objects: ObjectStore
    sender: Sender
    deliveries: Deliveries
    chunks: Chunks
    sets: Sets
    work: Work
    dead_letters: DeadLetters
    fold: Fold
    splitter: Splitter
    sweep: Sweep


@dataclass
class Connected:
    """The services of a process together with what has to be opened and closed."""

    services: Services
    database: Database
    sender: KafkaSender
    journal: PostgresJournal

    async def close(self) -> None:
        """Flush what is being sent and end all connections."""
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
    )
    sender = KafkaSender(settings.broker)
    objects = S3ObjectStore(_client(settings))
    deliveries = PostgresDeliveries(database, owner=run_id, chunk_bytes=settings.chunk_bytes, lease_s=settings.lease_s)
    sets = PostgresSets(database)
    work = PostgresWork(database)
    services = Services(
        bucket=settings.s3_bucket,
        objects=objects,
        sender=sender,
        deliveries=deliveries,
        chunks=PostgresChunks(database),
        sets=sets,
        work=work,
        dead_letters=KafkaDeadLetters(sender, database),
        fold=Fold(sets=sets, deliveries=deliveries, sender=sender, rules=all_rules(), required=required_entities()),
        splitter=Splitter(
            objects=objects,
            deliveries=deliveries,
            sender=sender,
            chunks_in_flight=settings.chunks_in_flight,
            max_content_bytes=settings.max_content_bytes,
            lease_s=settings.lease_s,
        ),
        sweep=Sweep(
            bucket=settings.s3_bucket,
            objects=objects,
            deliveries=deliveries,
            sets=sets,
            work=work,
            sender=sender,
            state=PostgresSweepState(database),
        ),
    )
    return Connected(services=services, database=database, sender=sender, journal=PostgresJournal(database, run_id=run_id))


def _client(settings: Settings) -> "S3Client":
    return s3_client(
        endpoint_url=settings.s3_endpoint_url,
        access_key=_plain(settings.s3_access_key),
        secret_key=_plain(settings.s3_secret_key),
        region=settings.s3_region,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
