"""What happened to a set, moment by moment, from what is stored of it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dataharvest.rules.text import counted
from dataharvest.set_details import Moment, VersionStatus
from dataharvest.status import SetStatus


class BatchMoments(NamedTuple):
    """When the batches of one rule were planned and done."""

    version: int
    rule: str
    planned_at: datetime
    done_at: datetime | None
    done_count: int
    batch_count: int


def timeline_of(
    one: SetStatus, deliveries: Iterable[Mapping[str, Any]], versions: Iterable[VersionStatus], batches: Iterable[BatchMoments]
) -> list[Moment]:
    """Everything that has a moment, the newest first; moments of a second keep the order of the journey."""
    found = [
        *(moment for row in deliveries for moment in _of_delivery(row)),
        *(Moment(at=each.registered_at, what="manifest arrived", detail=each.file) for each in one.manifests),
        *(moment for version in versions for moment in _of_version(version)),
        *(moment for batch in batches for moment in _of_batches(batch)),
        *([Moment(at=one.late_at, what="late", detail="no version at the cut-off")] if one.late_at else []),
    ]
    return sorted(found, key=lambda moment: moment.at, reverse=True)


def _of_delivery(row: Mapping[str, Any]) -> Iterator[Moment]:
    entity = row["entity"]
    yield Moment(at=row["registered_at"], what=f"{entity} arrived", detail=row["object_key"])
    if row["last_chunk_at"]:
        count = row["chunk_count"]
        chunks = f"{counted(count, 'chunk')}{'' if row['sealed_at'] else ' so far'}"
        yield Moment(at=row["last_chunk_at"], what=f"{entity} stored", detail=f"delivery {row['delivery_id']}, {chunks}")
    if row["completed_at"]:
        yield Moment(at=row["completed_at"], what=f"{entity} {row['state']}", detail=f"delivery {row['delivery_id']}")


def _of_version(version: VersionStatus) -> Iterator[Moment]:
    named = ", ".join(f"{entity} {identity}" for entity, identity in sorted(version.deliveries.items()))
    yield Moment(at=version.created_at, what=f"version {version.version} made", detail=f"deliveries: {named}")
    if version.published_at:
        sent = counted(version.sent_count, "message")
        yield Moment(at=version.published_at, what=f"version {version.version} published", detail=sent)


def _of_batches(batch: BatchMoments) -> Iterator[Moment]:
    about = f"version {batch.version}"
    yield Moment(at=batch.planned_at, what=f"{batch.rule} begun", detail=about)
    if batch.done_at and batch.done_count == batch.batch_count:
        yield Moment(at=batch.done_at, what=f"{batch.rule} done", detail=about)
