"""Deliveries in PostgreSQL: registration, leases, sealing, completion."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from dataharvest import tracing
from dataharvest.adapters.postgres.connection import Connection, Database, translated
from dataharvest.deliveries import LEASES_PER_TENANT, SPLITTER_VERSION, Announcement, Lease, Sealing
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.versions import IN_PROGRESS
from dataharvest.sql import queries

_SQL = queries("deliveries")
_CHANNEL = "delivery_registered"


class PostgresDeliveries:
    """The port ``Deliveries`` on PostgreSQL."""

    def __init__(self, database: Database, *, owner: str, chunk_bytes: int, lease_s: float) -> None:
        self._database = database
        self._owner = owner
        self._chunk_bytes = chunk_bytes
        self._lease_s = lease_s

    async def register(self, source: ObjectVersion, name: ObjectName, *, contract_version: int = 0) -> int | None:
        """See the port."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_set"], name.tenant, name.business_date)
            delivery_id: int | None = await connection.fetchval(
                _SQL["register"],
                name.tenant,
                name.business_date,
                name.entity,
                *_object_columns(source),
                self._chunk_bytes,
                SPLITTER_VERSION,
                contract_version,
            )
            if delivery_id is not None:
                # What could not be read is replaced now; nobody has to wait for it any longer.
                for row in await connection.fetch(_SQL["older_waiting"], delivery_id):
                    await _end(connection, row["delivery_id"], str(name.entity), "superseded")
                if found := tracing.traceparent():
                    await connection.execute(_SQL["note_trace"], delivery_id, found)
            await connection.execute(_SQL["wake_splitters"])
        return delivery_id

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """See the port."""
        tenant = str(reason.details.get("tenant", ""))
        async with self._database.connection() as connection:
            delivery_id: int | None = await connection.fetchval(
                _SQL["register_rejected"], tenant, *_object_columns(source), failure_of(reason)
            )
        return delivery_id

    async def lease(self, *, per_tenant: int = LEASES_PER_TENANT) -> Lease | None:
        """See the port."""
        while True:
            async with self._database.connection() as connection:
                row = await connection.fetchrow(_SQL["lease"], self._owner, self._lease_s, per_tenant)
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

    async def wait_for_object(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """See the port."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_set"], lease.tenant, lease.business_date)
            if await connection.fetchrow(_SQL["lock_leased"], lease.delivery_id, lease.epoch) is None:
                return
            order = (lease.source.last_modified, lease.source.key, lease.delivery_id)
            if await connection.fetchval(_SQL["newer_known"], lease.tenant, lease.business_date, lease.entity, *order):
                await _end(connection, lease.delivery_id, lease.entity, "superseded")
            else:
                await connection.execute(_SQL["wait_for_object"], lease.delivery_id, lease.epoch, dict(failure))

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["stored_chunks"], delivery_id)
        return {row["chunk_index"]: row["sha256"] for row in rows}

    async def note_sent(self, lease: Lease, offsets: Mapping[int, int]) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["note_sent"], lease.delivery_id, lease.epoch, dict(offsets))

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """See the port."""
        async with self._database.connection() as connection:
            count: int = await connection.fetchval(_SQL["stored_chunk_count"], delivery_id)
        return count

    async def seal(self, lease: Lease, sealing: Sealing) -> bool:
        """See the port."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_set"], lease.tenant, lease.business_date)
            if await connection.fetchrow(_SQL["lock_leased"], lease.delivery_id, lease.epoch) is None:
                return False
            if found := tracing.traceparent():
                await connection.execute(_SQL["note_trace"], lease.delivery_id, found)
            newest = await connection.fetchrow(
                _SQL["newest_content"],
                lease.tenant,
                lease.business_date,
                lease.entity,
                lease.delivery_id,
                lease.contract_version,
            )
            if newest is not None and newest["is_read_alike"] and newest["content_sha256"] == sealing.content_sha256:
                await _end(
                    connection, lease.delivery_id, lease.entity, "repeat", repeat_of=newest["delivery_id"], sealing=sealing
                )
            else:
                await connection.execute(
                    _SQL["seal"],
                    lease.delivery_id,
                    sealing.content_sha256,
                    sealing.content_start,
                    sealing.content_end,
                    sealing.chunk_count,
                    list(sealing.ignored_columns),
                    sealing.object_sha256,
                )
        return True

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """See the port."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["lock_delivery"], delivery_id)
            if row is None or row["state"] not in IN_PROGRESS:
                return False
            await _end(connection, delivery_id, row["entity"], "rejected", failure=failure_of(reason))
        return True

    async def unannounced(self) -> list[Announcement]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["unannounced"])
        return [Announcement(**{name: row[name] for name in Announcement.__dataclass_fields__}) for row in rows]

    async def mark_announced(self, delivery_id: int) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["announced"], delivery_id)

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """See the port."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["known_identities"], bucket, list(keys))
        return {(row["object_key"], row["etag"]) for row in rows}

    @asynccontextmanager
    async def wake_ups(self) -> AsyncIterator[asyncio.Event]:
        """See the port."""
        woken = asyncio.Event()

        def wake(*_: object) -> None:
            woken.set()

        async with self._database.connection() as connection:
            await connection.add_listener(_CHANNEL, wake)
            connection.add_termination_listener(wake)
            try:
                yield woken
            finally:
                # A connection that is gone has no listener left to remove.
                with suppress(asyncpg.InterfaceError):
                    connection.remove_termination_listener(wake)
                    async with translated():
                        await connection.remove_listener(_CHANNEL, wake)


def failure_of(reason: Rejected) -> dict[str, Any]:
    """What is stored of a reason: its rule, its sentence and its details."""
    details = {name: value if isinstance(value, int | None) else _storable(str(value)) for name, value in reason.details.items()}
    return {"rule": reason.rule, "message": _storable(reason.message), **details}


def _storable(text: str) -> str:
    # A reason may quote what it refuses; PostgreSQL takes neither NUL nor half a surrogate pair.
    return text.replace("\0", "\\0").encode(errors="replace").decode()


def _object_columns(source: ObjectVersion) -> tuple[Any, ...]:
    return (
        source.bucket,
        source.key,
        source.identity,
        source.version_id,
        source.etag,
        source.last_modified,
        source.size_bytes,
    )


def source_of(row: Any) -> ObjectVersion:
    """The object that a delivery's row describes."""
    return ObjectVersion(
        bucket=row["bucket"],
        key=row["object_key"],
        version_id=row["version_id"],
        etag=row["etag"],
        last_modified=row["last_modified"],
        size_bytes=row["size_bytes"],
    )


def lease_of(row: Any) -> Lease:
    """The lease that a delivery's row describes."""
    return Lease(
        delivery_id=row["delivery_id"],
        epoch=row["lease_epoch"],
        tenant=row["tenant"],
        business_date=row["business_date"],
        entity=row["entity"],
        source=source_of(row),
        chunk_bytes=row["chunk_bytes"],
        splitter_version=row["splitter_version"],
        contract_version=row["contract_version"],
        traceparent=row["traceparent"],
    )


async def _end(
    connection: Connection,
    delivery_id: int,
    entity: str,
    state: str,
    *,
    failure: Mapping[str, Any] | None = None,
    repeat_of: int | None = None,
    sealing: Sealing | None = None,
) -> None:
    # The delivery row is locked: no chunk of it can be stored any more, and its rows go with its state.
    content_sha256 = sealing.content_sha256 if sealing else None
    await connection.execute(_SQL["end_delivery"], delivery_id, state, failure, repeat_of, content_sha256)
    await connection.execute(f"DELETE FROM {all_entities()[entity].table} WHERE delivery_id = $1", delivery_id)
    await connection.execute(_SQL["remove_quarantine"], delivery_id)
    await connection.execute(_SQL["remove_chunks"], delivery_id)
