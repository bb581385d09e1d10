"""Deliveries in PostgreSQL: registration, leases, sealing, completion."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from dataharvest import tracing
from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.delivery_ends import end_delivery
from dataharvest.adapters.postgres.delivery_rows import failure_of, lease_of, object_columns
from dataharvest.adapters.postgres.notifications import add_notification
from dataharvest.adapters.postgres.sealing import seal_at_once, seal_beside_others
from dataharvest.adapters.postgres.wake_ups import wake_ups
from dataharvest.deliveries import LEASES_PER_TENANT, SPLITTER_VERSION, Announcement, Lease, Sealing, SetKey
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.notifying import rejected_note, unusable_note
from dataharvest.rules.splitting import chunk_bytes_for
from dataharvest.rules.versions import IN_PROGRESS
from dataharvest.sql import queries

_SQL = queries("deliveries")


class PostgresDeliveries:
    """The port ``Deliveries`` on PostgreSQL."""

    def __init__(self, database: Database, *, owner: str, chunk_bytes: int, lease_s: float) -> None:
        self._database = database
        self._owner = owner
        self._chunk_bytes = chunk_bytes
        self._lease_s = lease_s

    async def register(
        self, source: ObjectVersion, name: ObjectName, *, contract_version: int = 0, after: int | None = None
    ) -> int | None:
        """See the port."""
        async with self._database.connection() if after is None else self._database.transaction() as connection:
            if after is not None:
                # Which one is the newest of the key is asked once nobody else registers one.
                await connection.execute(_SQL["lock_set"], name.tenant, name.business_date)
            delivery_id: int | None = await connection.fetchval(
                _SQL["register"],
                name.tenant,
                name.business_date,
                name.entity,
                *object_columns(source),
                chunk_bytes_for(source.size_bytes, chunk_bytes=self._chunk_bytes),
                SPLITTER_VERSION,
                contract_version,
                after,
                tracing.traceparent(),
            )
        return delivery_id

    async def overtaken_by(self, source: ObjectVersion) -> int | None:
        """See the port."""
        async with self._database.connection() as connection:
            newest = await connection.fetchrow(_SQL["newest_of_key"], source.bucket, source.key)
        is_overtaken = newest is not None and source.shares_its_second(newest["etag"], newest["last_modified"])
        return newest["delivery_id"] if newest is not None and is_overtaken else None

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """See the port."""
        tenant = str(reason.details.get("tenant", ""))
        async with self._database.transaction() as connection:
            delivery_id: int | None = await connection.fetchval(
                _SQL["register_rejected"], tenant, *object_columns(source), failure_of(reason)
            )
            if delivery_id is not None and tenant:
                note = unusable_note(tenant, delivery_id=delivery_id, reason=reason.message)
                await add_notification(connection, (tenant, None), note)
        return delivery_id

    async def lease(self, *, per_tenant: int = LEASES_PER_TENANT, alone: bool = True) -> Lease | None:
        """See the port."""
        while True:
            async with self._database.connection() as connection:
                row = await connection.fetchrow(_SQL["lease"], self._owner, self._lease_s, per_tenant, alone)
            if row is None or not row["contended"]:
                return None if row is None else lease_of(row)

    async def renew(self, lease: Lease) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_SQL["renew"], lease.delivery_id, lease.epoch, self._lease_s) is not None

    async def release(self, lease: Lease) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["release"], lease.delivery_id, lease.epoch)

    async def put_aside(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """See the port."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_set"], lease.tenant, lease.business_date)
            if await connection.fetchrow(_SQL["lock_leased"], lease.delivery_id, lease.epoch) is None:
                return
            order = (lease.source.last_modified, lease.source.key, lease.delivery_id)
            if await connection.fetchval(_SQL["newer_known"], lease.tenant, lease.business_date, lease.entity, *order):
                await end_delivery(connection, lease.delivery_id, lease.entity, "superseded")
            else:
                await connection.execute(_SQL["put_aside"], lease.delivery_id, lease.epoch, dict(failure))

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["settled_chunks"], delivery_id)
        return {row["chunk_index"]: row["sha256"] for row in rows}

    async def note_sent(self, lease: Lease, offsets: Mapping[int, int]) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note_sent"], lease.delivery_id, lease.epoch, dict(offsets))

    async def note_gap(self, delivery_id: int, failure: Mapping[str, Any] | None) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note_gap"], delivery_id, dict(failure) if failure else None)

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """See the port."""
        async with self._database.connection() as connection:
            count: int = await connection.fetchval(_SQL["stored_chunk_count"], delivery_id)
        return count

    async def seal(self, lease: Lease, sealing: Sealing, *, sent_offsets: Mapping[int, int] | None = None) -> bool:
        """See the port."""
        async with self._database.connection() as connection:
            if await seal_at_once(connection, lease, sealing, sent_offsets=sent_offsets):
                return True
            async with connection.transaction():
                return await seal_beside_others(connection, lease, sealing, sent_offsets=sent_offsets)

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """See the port."""
        async with self._database.transaction() as connection:
            key = await connection.fetchrow(_SQL["set_of"], delivery_id)
            if key is None:
                return False
            # Sealing asks under this lock whether a delivery is a repeat: none may become one of what is being rejected.
            await connection.execute(_SQL["lock_set"], *key)
            row = await connection.fetchrow(_SQL["lock_delivery"], delivery_id)
            if row is None or row["state"] not in IN_PROGRESS:
                return False
            await end_delivery(connection, delivery_id, row["entity"], "rejected", failure=failure_of(reason))
            note = rejected_note(*key, delivery_id=delivery_id, entity=row["entity"], rule=reason.rule)
            await add_notification(connection, SetKey(*key), note)
            if await connection.fetchval(_SQL["revive_repeat"], delivery_id) is not None:
                await connection.execute(_SQL["wake_splitters"])
        return True

    async def unannounced(self) -> list[Announcement]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["unannounced"])
        return [Announcement(**{name: row[name] for name in Announcement.__dataclass_fields__}) for row in rows]

    async def mark_announced(self, *delivery_ids: int) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["announced"], delivery_ids)

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["known_identities"], bucket, list(keys))
        return {(row["object_key"], row["etag"]) for row in rows}

    def wake_ups(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """See the port."""
        return wake_ups(self._database)
