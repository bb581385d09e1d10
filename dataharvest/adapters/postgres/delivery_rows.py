"""What a delivery's row says, and how a reason or an object is put into one."""

from typing import Any

from dataharvest.deliveries import Lease
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion


def failure_of(reason: Rejected) -> dict[str, Any]:
    """What is stored of a reason: its rule, its sentence and its details."""
    details = {name: value if isinstance(value, int | None) else storable(str(value)) for name, value in reason.details.items()}
    return {"rule": reason.rule, "message": storable(reason.message), **details}


def storable(text: str) -> str:
    """The text, with what PostgreSQL can't store spelled out."""
    # A reason may quote what it refuses; PostgreSQL takes neither NUL nor half a surrogate pair.
    return text.replace("\0", "\\0").encode(errors="replace").decode()


def object_columns(source: ObjectVersion) -> tuple[Any, ...]:
    """What is stored of an object, in the order of the statements that insert a delivery."""
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
        crash_count=row["crash_count"],
        chunks_at_lease=row["chunks_at_lease"],
        traceparent=row["traceparent"],
    )
