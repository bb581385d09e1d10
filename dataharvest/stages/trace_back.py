"""Trace back: from an outbound message to the files, versions and lines that it was made from.

Lines are not stored per row; they are found by reading the pinned object again, the chunks that matter only.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from dataharvest.deliveries import ChunkPlace
from dataharvest.errors import ObjectTrouble
from dataharvest.lineage import FoundKey, Lineage, Origins, OutboundRecord, SourceDelivery, SourceFile, SourceRecord
from dataharvest.objects import ObjectStore
from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.rules.duplicates import Copy
from dataharvest.stages.judge import ContractOf
from dataharvest.stages.read_again import ReadingAgain
from dataharvest.transformers import all_transformers

SOURCE_REMOVED = "source removed: the object is gone or has other bytes, so lines are not known"
ROWS_REMOVED = "rows removed: a newer file has taken their place, only linked keys are known"


@dataclass(frozen=True)
class TraceBack:
    """Answers where a message comes from."""

    origins: Origins
    objects: ObjectStore
    contract_of: ContractOf

    async def lineage(self, message_id: UUID, *, limit: int) -> Lineage | None:
        """The message with its files and, of each, the first ``limit`` records; None when no message has this id.

        Raises:
            Unavailable: PostgreSQL or the object store is not there.
        """
        message = await self.origins.message(message_id)
        if message is None:
            return None
        read = entities_read(all_outbound()[f"outbound.{message.kind}"])
        files = [one for one in await self.origins.deliveries(message) if one.subject.entity in read]
        return _lineage(message, [await self._file(message, one, limit) for one in files])

    async def _file(self, message: OutboundRecord, delivery: SourceDelivery, limit: int) -> SourceFile:
        count, keys = await self.origins.keys(message, delivery, limit=limit)
        note = ROWS_REMOVED if delivery.is_removed else None
        try:
            copies = await self._copies(delivery, keys)
        except ObjectTrouble:
            copies, note = {}, SOURCE_REMOVED
        return _source_file(delivery, count, [_record(key, copies.get(key.natural_key)) for key in keys], note)

    async def _copies(self, delivery: SourceDelivery, keys: Sequence[FoundKey]) -> dict[str, Copy]:
        if not keys:
            return {}
        subject = delivery.subject
        contract = await self.contract_of(subject.tenant, subject.contract_version)
        reading = ReadingAgain(subject, contract, self.objects)
        last_wins = contract.duplicate_rule(subject.entity) == "last_wins"
        chunks = await self.origins.chunks(delivery)
        known = {index for key in keys for index in key.chunks}
        wanted = {key.natural_key for key in keys if key.chunks}
        found = await _read(reading, [one for one in chunks if one.index in known], wanted, last_wins=last_wins)
        if missing := {key.natural_key for key in keys} - set(found):
            found |= await _read(reading, chunks, missing, last_wins=last_wins)
        return found


def entities_read(outbound: OutboundMessage) -> set[str]:
    """Every entity that the message, or a value in it, is made from."""
    transformers = (all_transformers()[name] for name in outbound.takes)
    return set(outbound.reads).union(*(one.reads for one in transformers))


async def _read(
    reading: ReadingAgain, places: Sequence[ChunkPlace], keys: Collection[str], *, last_wins: bool
) -> dict[str, Copy]:
    found: dict[str, Copy] = {}
    async for place, data in reading.chunks(places):
        for copy in reading.copies(place, data, keys=set(keys)):
            # Of records with one key the contract has kept the first or the last.
            if last_wins or copy.natural_key not in found:
                found[copy.natural_key] = copy
    return found


def _record(key: FoundKey, copy: Copy | None) -> SourceRecord:
    line, byte_offset = (copy.line, copy.byte_offset) if copy else (None, None)
    return SourceRecord(natural_key=key.natural_key, line=line, byte_offset=byte_offset)


def _source_file(delivery: SourceDelivery, count: int, records: Iterable[SourceRecord], note: str | None) -> SourceFile:
    subject = delivery.subject
    return SourceFile(
        entity=subject.entity,
        delivery_id=subject.delivery_id,
        file=subject.source.key,
        version_id=subject.source.version_id,
        etag=subject.source.etag,
        last_modified=subject.source.last_modified,
        content_sha256=delivery.content_sha256.hex() if delivery.content_sha256 else None,
        contract_version=subject.contract_version,
        record_count=count,
        records=sorted(records, key=lambda one: (one.line is None, one.line or 0, one.natural_key)),
        note=note,
    )


def _lineage(message: OutboundRecord, files: list[SourceFile]) -> Lineage:
    return Lineage(
        message_id=UUID(str(message.message_id)),
        topic=f"outbound.{message.kind}",
        key=f"{message.tenant}|{message.reference}",
        tenant=message.tenant,
        business_date=message.business_date,
        version=message.version,
        supersedes=UUID(str(message.supersedes)) if message.supersedes else None,
        withdrawn=message.withdrawn,
        sent_at=message.sent_at,
        value=json.loads(message.payload),
        files=files,
    )
