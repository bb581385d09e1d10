"""The end of a delivery's content, in PostgreSQL: it is sealed, or ended as a repeat."""

from collections.abc import Mapping

from dataharvest import tracing
from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.delivery_ends import end_delivery
from dataharvest.deliveries import Lease, Sealing
from dataharvest.sql import queries

_SQL = queries("deliveries")


async def seal_at_once(connection: Connection, lease: Lease, sealing: Sealing, *, sent_offsets: Mapping[int, int] | None) -> bool:
    """Record the end of the content in one statement; False when it has to be done beside others, or the lease was lost."""
    of_set = lease.tenant, lease.business_date
    arguments = (*_known(lease, sealing), lease.epoch, sent_offsets, tracing.traceparent(), *of_set)
    return await connection.fetchval(_SQL["seal_at_once"], *arguments) is not None


async def seal_beside_others(
    connection: Connection, lease: Lease, sealing: Sealing, *, sent_offsets: Mapping[int, int] | None
) -> bool:
    """The same in the caller's transaction, whatever else is there of the entity; False when the lease was lost."""
    await connection.execute(_SQL["lock_known_set"], lease.tenant, lease.business_date)
    if await connection.fetchrow(_SQL["lock_leased"], lease.delivery_id, lease.epoch) is None:
        return False
    if sent_offsets is not None:
        await connection.execute(_SQL["note_sent"], lease.delivery_id, lease.epoch, sent_offsets)
    if found := tracing.traceparent():
        await connection.execute(_SQL["note_trace"], lease.delivery_id, found)
    repeated = await _repeated(connection, lease, sealing)
    if repeated is None:
        await connection.execute(_SQL["seal"], *_known(lease, sealing))
    else:
        await end_delivery(connection, lease.delivery_id, lease.entity, "repeat", repeat_of=repeated, sealing=sealing)
    # What could not be read is replaced now; nobody has to wait for it any longer.
    for row in await connection.fetch(_SQL["older_waiting"], lease.delivery_id):
        await end_delivery(connection, row["delivery_id"], lease.entity, "superseded")
    return True


async def _repeated(connection: Connection, lease: Lease, sealing: Sealing) -> int | None:
    """The delivery that this one repeats."""
    of_entity = lease.tenant, lease.business_date, lease.entity
    newest = await connection.fetchrow(_SQL["newest_content"], *of_entity, lease.delivery_id, lease.contract_version)
    if newest is None or not newest["is_read_alike"] or newest["content_sha256"] != sealing.content_sha256:
        return None
    return int(newest["delivery_id"])


def _known(lease: Lease, sealing: Sealing) -> tuple[object, ...]:
    return (
        lease.delivery_id,
        sealing.content_sha256,
        sealing.content_start,
        sealing.content_end,
        sealing.chunk_count,
        list(sealing.ignored_columns),
        sealing.object_sha256,
    )
