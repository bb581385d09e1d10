"""Where outbound messages come from, as PostgreSQL knows it."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.entities import LINKED, Entity, all_entities
from dataharvest.lineage import FoundKey, OutboundRecord, SourceDelivery
from dataharvest.objects import ObjectVersion
from dataharvest.outbound import all_outbound
from dataharvest.sql import queries

_SQL = queries("lineage")

Per = Literal["client", "portfolio"]


class PostgresOrigins:
    """The port ``Origins`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def message(self, message_id: UUID) -> OutboundRecord | None:
        """See the port."""
        rows = await self._rows(_SQL["message"], message_id)
        return OutboundRecord(**rows[0]) if rows else None

    async def deliveries(self, message: OutboundRecord) -> Sequence[SourceDelivery]:
        """See the port."""
        return [_delivery(row) for row in await self._rows(_SQL["deliveries"], message.set_version_id)]

    async def keys(self, message: OutboundRecord, delivery: SourceDelivery, *, limit: int) -> tuple[int, list[FoundKey]]:
        """See the port."""
        entity, per = all_entities()[delivery.subject.entity], all_outbound()[f"outbound.{message.kind}"].per
        async with self._database.connection() as connection:
            if delivery.is_removed:
                found = await _linked_keys(connection, message, entity, per, limit)
                return len(found), found
            query = _SQL["rows"].format(table=entity.table, key=entity.natural_key, concerned=_concerned(entity, per))
            arguments = (delivery.subject.delivery_id, message.set_version_id, message.reference, limit)
            rows = await connection.fetch(query, *arguments)
        count = rows[0]["record_count"] if rows else 0
        return count, [FoundKey(row["natural_key"], tuple(row["chunks"])) for row in rows]

    async def chunks(self, delivery: SourceDelivery) -> Sequence[ChunkPlace]:
        """See the port."""
        return [ChunkPlace(*row) for row in await self._rows(_SQL["chunks"], delivery.subject.delivery_id)]

    async def _rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self._database.connection() as connection:
            return list(await connection.fetch(query, *arguments))


async def _linked_keys(connection: Connection, message: OutboundRecord, entity: Entity, per: Per, limit: int) -> list[FoundKey]:
    if entity.natural_key not in LINKED:
        return []
    query = _SQL["linked_keys"].format(key=entity.natural_key, per=per)
    rows = await connection.fetch(query, message.set_version_id, message.reference, limit)
    return [FoundKey(row["natural_key"], ()) for row in rows]


def _concerned(entity: Entity, per: Per) -> str:
    if entity.name == f"{per}s":
        # $2 is not needed, and PostgreSQL wants to know its type.
        return f"$2::bigint IS NOT NULL AND r.{per}_reference = $3"
    linked = entity.linked
    same = " AND ".join(f"l.{column} = r.{column}" for column in linked) or "true"
    return f"EXISTS (SELECT FROM link l WHERE l.set_version_id = $2 AND l.{per}_reference = $3 AND {same})"


def _delivery(row: Any) -> SourceDelivery:
    source = ObjectVersion(
        bucket=row["bucket"],
        key=row["object_key"],
        version_id=row["version_id"],
        etag=row["etag"],
        last_modified=row["last_modified"],
        size_bytes=row["size_bytes"],
    )
    subject = JudgedDelivery(
        delivery_id=row["delivery_id"],
        tenant=row["tenant"],
        business_date=row["business_date"],
        entity=row["entity"],
        source=source,
        contract_version=row["contract_version"],
    )
    return SourceDelivery(subject=subject, content_sha256=row["content_sha256"], is_removed=row["removed_at"] is not None)
