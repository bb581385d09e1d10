"""Where a replay takes its messages from: the topic itself, or the files in the bucket."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dataharvest.deliveries import SPLITTER_VERSION
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.messages import ChunkMetadata, encode_chunk
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, Deliveries, Position
from dataharvest.replaying.log import LoggedMessage, Span, TopicLog
from dataharvest.replaying.ports import ReplayLedger
from dataharvest.replaying.requests import Part
from dataharvest.replaying.subjects import Wanted
from dataharvest.stages.split import Reading, chunk_metadata

BUCKET = "s3"
"""Stands for the topic in the source header of a chunk that was read from the bucket: ``s3:delivery:index``."""
_MAX_CONTENT_BYTES = 1 << 62
"""The content was read before and was not too long."""


class Item(NamedTuple):
    """One step of a replay; without a message it is only passed."""

    part: int
    at: int
    message: LoggedMessage | None
    is_copy: bool = False


class Source(Protocol):
    """Gives the messages of a replay's parts from where each of them is."""

    def items(self, parts: Sequence[Part]) -> AsyncIterator[Item]:
        """Each part's in order."""


@dataclass
class TopicSource:
    """The topic itself."""

    topic: str
    log: TopicLog
    wanted: Wanted

    async def items(self, parts: Sequence[Part]) -> AsyncIterator[Item]:
        """See the protocol."""
        spans = {one.number: Span(one.next, one.stop) for one in parts if one.left}
        async with aclosing(self.log.read(self.topic, spans)) as messages:  # type: ignore[type-var]
            async for one in messages:
                wanted = self.wanted.wants(one)
                is_copy = not wanted and self.wanted.is_copy(one)
                yield Item(one.position.partition, one.position.offset, one if wanted else None, is_copy)
        for part in parts:
            # A topic may end in offsets that hold no message.
            yield Item(part.number, part.stop - 1, None)


@dataclass
class BucketSource:
    """The files, from the object versions that they were read from, cut as they were cut before."""

    objects: ObjectStore
    deliveries: Deliveries
    contracts: Contracts
    ledger: ReplayLedger
    indexes: Mapping[int, Collection[int]]
    """Chunks that are wanted, by delivery."""
    troubles: list[str] = field(default_factory=list)
    """Deliveries that could not be read again, and why."""

    async def items(self, parts: Sequence[Part]) -> AsyncIterator[Item]:
        """See the protocol; a delivery that can't be read again is a trouble, and the others go on."""
        for part in (one for one in parts if one.left):
            try:
                async with aclosing(self._of_delivery(part)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
            except ObjectTrouble as trouble:
                self.troubles.append(f"delivery {part.number} can't be read again: {trouble.message}")
            except Rejected as reason:
                self.troubles.append(f"delivery {part.number} can't be read again: {reason.message}")

    async def _of_delivery(self, part: Part) -> AsyncIterator[Item]:
        lease = await self.ledger.lease_of(part.number)
        if lease.splitter_version != SPLITTER_VERSION:
            raise Rejected("another version of the program has cut it into other chunks", rule="splitter_version")
        stored = await self.deliveries.stored_chunks(part.number)
        wanted = set(self.indexes.get(part.number, ()))
        contract = await self.contracts.version(lease.tenant, lease.contract_version)
        reading = Reading(lease, self.objects, contract, max_content_bytes=_MAX_CONTENT_BYTES)
        async with aclosing(reading.pieces()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if piece.index >= part.stop:
                    return
                if piece.index >= part.next and piece.index in wanted:
                    metadata = chunk_metadata(lease, piece, reading.header, contract)
                    _require_same(stored.get(piece.index), metadata)
                    yield Item(part.number, piece.index, _message(metadata, piece.data))


def _require_same(known: bytes | None, metadata: ChunkMetadata) -> None:
    if known is not None and known.hex() != metadata.sha256:
        # Sent, it would look like a splitter's error.
        raise Rejected("the object has other bytes than when it was read", rule="other_content")


def _message(metadata: ChunkMetadata, data: bytes) -> LoggedMessage:
    position = Position(BUCKET, metadata.delivery_id, metadata.index)
    return LoggedMessage(position=position, key=metadata.key, value=encode_chunk(metadata, data))
