"""Manifests in PostgreSQL, and the stored totals that they are compared with."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.adapters.postgres.delivery_rows import storable
from dataharvest.adapters.postgres.sums import exact_sums
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import ManifestRead
from dataharvest.objects import ObjectVersion
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest
from dataharvest.sql import queries

_SQL = queries("manifests")


class PostgresManifests:
    """Keeps the manifests of every set, those that can't be used too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, key: SetKey, source: ObjectVersion, outcome: Manifest | Rejected) -> int:
        """Store what was read, or why it can't be used; returns its number, the same when this content is known already."""
        if isinstance(outcome, Manifest):
            stored: tuple[Any, ...] = ("read", outcome.as_json(), None)
        else:
            stored = ("rejected", None, _failure_of(outcome))
        about = (source.bucket, source.key, source.identity, source.etag, source.last_modified)
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_set"], *key)
            manifest_id: int = await connection.fetchval(_SQL["insert"], *key, *about, *stored)
        return manifest_id

    async def unannounced(self, *, age_s: float) -> list[ManifestRead]:
        """Manifests registered at least that long ago of which the set may not have been told, oldest first."""
        async with self._database.connection() as connection:
            return [ManifestRead(**dict(row)) for row in await connection.fetch(_SQL["unannounced"], age_s)]

    async def mark_announced(self, manifest_id: int) -> None:
        """Note that the set was told."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["announced"], manifest_id)

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the manifests under these keys."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["known"], bucket, list(keys))
        return {(row["object_key"], row["etag"]) for row in rows}


async def newest_manifest(connection: Connection, key: SetKey) -> Manifest | None:
    """The newest manifest of the set that can be used, as the caller's transaction sees it.

    Raises:
        Rejected: rule ``stored_manifest``: it was stored by a version of the program that knew other fields or entities.
    """
    content = await connection.fetchval(_SQL["newest"], *key)
    if content is None:
        return None
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        message = f"the stored manifest says what this version of the program does not know ({fields})"
        raise Rejected(message, rule="stored_manifest") from error


async def newest_manifest_put_at(connection: Connection, key: SetKey) -> datetime | None:
    """When the newest manifest of the set that can be used was put into the bucket."""
    put_at: datetime | None = await connection.fetchval(_SQL["newest_put_at"], *key)
    return put_at


async def delivery_totals(connection: Connection, delivery_ids: Collection[int]) -> dict[str, DeliveryTotals]:
    """What is known of these complete deliveries, by entity; at most one of an entity may be asked for."""
    rows = await connection.fetch(_SQL["delivery_totals"], list(delivery_ids))
    return {
        row["entity"]: DeliveryTotals(
            delivery_id=row["delivery_id"],
            entity=row["entity"],
            records=row["record_count"],
            sums=exact_sums(row["sums"] or {}),
            object_sha256=hex_or_none(row["object_sha256"]),
            content_sha256=hex_or_none(row["content_sha256"]),
            left_out=row["record_count"] - row["persisted_count"],
        )
        for row in rows
    }


def hex_or_none(value: bytes | None) -> str | None:
    """The digits of a hash, if there is one."""
    return None if value is None else value.hex()


def _failure_of(reason: Rejected) -> dict[str, Any]:
    problems = reason.details.get("problems", ())
    assert isinstance(problems, tuple)
    return {"rule": reason.rule, "message": storable(reason.message), "problems": [storable(str(one)) for one in problems]}
