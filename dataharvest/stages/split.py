"""Split: the chunk producer. Reads a delivery once, from its pinned version, and sends it as record-safe chunks."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from dataharvest import tracing
from dataharvest.contracts import Contract
from dataharvest.deliveries import Lease, Sealing
from dataharvest.failpoints import failpoint
from dataharvest.messages import ChunkMetadata
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, Deliveries, Sender
from dataharvest.rules.decompression import decompressor_for, is_compressed
from dataharvest.rules.header import Header, read_header
from dataharvest.rules.splitting import Piece, RecordSplitter
from dataharvest.rules.transcoding import transcoder_for
from dataharvest.stages.aside import aside
from dataharvest.stages.fairness import Fairness
from dataharvest.stages.flight import Flight, Keep, LeaseKeeper, LeaseLost, nothing_to_keep
from dataharvest.stages.window import Limits
from dataharvest.tenants import Tenants

logger = logging.getLogger(__name__)


@dataclass
class Splitter:
    """Splits one delivery at a time under a lease; several may run side by side, their tenants in turn."""

    objects: ObjectStore
    deliveries: Deliveries
    contracts: Contracts
    sender: Sender
    tenants: Tenants
    limits: Limits
    max_content_bytes: int
    lease_s: float

    def __post_init__(self) -> None:
        """Begin with nobody under way."""
        self.fairness = Fairness(self.tenants, self.limits)

    async def split(self, lease: Lease) -> None:
        """Send every chunk of the delivery and seal it.

        Chunks that are in the ledger already, from a splitter that died, are not sent again.

        Raises:
            Rejected: the content can't be read as a file of its entity.
            ObjectTrouble: the object can't be read now.
            LeaseLost: another splitter took over.
            TenantPaused: the tenant was paused.
            Unavailable: a service is not there.
        """
        keep = LeaseKeeper(lease, self.deliveries, lease_s=self.lease_s)
        with tracing.span("split", _ids(lease), parent=lease.traceparent):
            # What nobody has read before has no chunk in the ledger.
            stored = await self.deliveries.stored_chunks(lease.delivery_id) if lease.epoch > 1 else {}
            reading, flight = await self._send_missing(lease, stored, keep=keep)
            failpoint("split.all_sent")
            sealing = reading.sealing(chunk_count=flight.chunk_count)
            if not await self.deliveries.seal(lease, sealing, sent_offsets=flight.last_offsets):
                raise LeaseLost

    async def resend(self, lease: Lease) -> int:
        """Send the chunks of a sealed delivery that the ledger lacks; how many. Raises as ``split`` does."""
        with tracing.span("split", _ids(lease), parent=lease.traceparent):
            stored = await self.deliveries.stored_chunks(lease.delivery_id)
            _, flight = await self._send_missing(lease, stored, keep=nothing_to_keep)
        await self.deliveries.note_sent(lease, flight.last_offsets)
        return flight.sent_count

    async def _send_missing(self, lease: Lease, stored: Mapping[int, bytes], *, keep: Keep) -> "tuple[Reading, Flight]":
        contract = await self.contracts.version(lease.tenant, lease.contract_version)
        reading = Reading(lease, self.objects, contract, max_content_bytes=self.max_content_bytes)
        async with self.fairness.window(lease.tenant) as window:
            flight = Flight(lease, sender=self.sender, fairness=self.fairness, window=window, stored=stored, keep=keep)
            try:
                async for piece in reading.pieces():
                    metadata = await aside(len(piece.data), chunk_metadata, lease, piece, reading.header, contract)
                    await flight.send(metadata, piece.data)
                await flight.landed()
            finally:
                flight.cancel()
        return reading, flight


class Reading:
    """One pass over the content: decompressed, made UTF-8, hashed, header read, cut into pieces."""

    def __init__(self, lease: Lease, objects: ObjectStore, contract: Contract, *, max_content_bytes: int) -> None:
        self._lease = lease
        self._objects = objects
        self._contract = contract
        self._transcoder = transcoder_for(contract.encoding)
        self._decompressor = decompressor_for(lease.source.key, max_content_bytes=max_content_bytes)
        self._content_hash = sha256()
        is_as_sent = contract.encoding == "utf-8" and not is_compressed(lease.source.key)
        # Of content that is the object as it is, one hash says it all.
        self._object_hash = None if is_as_sent else sha256()
        self._header: Header | None = None
        self._end = 0

    @property
    def header(self) -> Header:
        """The file's header; known once the first piece is out."""
        assert self._header is not None
        return self._header

    def sealing(self, *, chunk_count: int) -> Sealing:
        """What sealing records, once all pieces are out."""
        return Sealing(
            content_sha256=self._content_hash.digest(),
            content_start=self.header.byte_length,
            content_end=self._end,
            chunk_count=chunk_count,
            ignored_columns=self.header.ignored,
            object_sha256=(self._object_hash or self._content_hash).digest(),
        )

    async def pieces(self) -> AsyncIterator[Piece]:
        """The chunks, in order."""
        splitter: RecordSplitter | None = None
        start = b""
        async for data in self._content():
            if splitter is None:
                start += data
                splitter = self._begin(start, at_end=False)
                fresh = start[self.header.byte_length :] if splitter else b""
            else:
                fresh = data
            for piece in splitter.feed(fresh) if splitter else ():
                yield piece
        if splitter is None:
            splitter = self._begin(start, at_end=True)
            assert splitter is not None
            for piece in splitter.feed(start[self.header.byte_length :]):
                yield piece
        for piece in splitter.finish():
            yield piece

    async def _content(self) -> AsyncIterator[bytes]:
        async for compressed in self._objects.read(self._lease.source):
            if self._object_hash is not None:
                await aside(len(compressed), self._object_hash.update, compressed)
            pieces = self._decompressor.feed(compressed)
            while (data := await aside(len(compressed), self._next_taken, pieces)) is not None:
                yield data
        self._decompressor.finish()
        yield self._taken(self._transcoder.finish())

    def _next_taken(self, pieces: Iterator[bytes]) -> bytes | None:
        data = next(pieces, None)
        return None if data is None else self._taken(self._transcoder.feed(data))

    def _taken(self, data: bytes) -> bytes:
        self._content_hash.update(data)
        self._end += len(data)
        return data

    def _begin(self, start: bytes, *, at_end: bool) -> RecordSplitter | None:
        entity = self._contract.entity(self._lease.entity)
        self._header = read_header(start, entity=entity, at_end=at_end, delimiter=self._contract.delimiter)
        if self._header is None:
            return None
        return RecordSplitter(
            chunk_bytes=self._lease.chunk_bytes,
            byte_offset=self._header.byte_length,
            first_line=self._header.line_count + 1,
            delimiter=self._contract.delimiter,
        )


def _ids(lease: Lease) -> tracing.Attributes:
    return {"delivery_id": lease.delivery_id, "tenant": lease.tenant, "entity": lease.entity}


def chunk_metadata(lease: Lease, piece: Piece, header: Header, contract: Contract) -> ChunkMetadata:
    """What a piece's message says of it."""
    return ChunkMetadata(
        tenant=lease.tenant,
        business_date=lease.business_date,
        delivery_id=lease.delivery_id,
        entity=lease.entity,
        index=piece.index,
        byte_offset=piece.byte_offset,
        byte_length=piece.byte_length,
        first_line=piece.first_line,
        sha256=sha256(piece.data).hexdigest(),
        columns=header.columns,
        header=header.raw,
        delimiter=contract.delimiter,
        decimal_mark=contract.decimal_mark,
        misaligned_tail=piece.misaligned_tail,
    )
