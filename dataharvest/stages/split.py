"""Split: the chunk producer. Reads a delivery once, from its pinned version, and sends it as record-safe chunks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

from dataharvest.deliveries import Lease, Sealing
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.messages import ChunkMetadata, encode_chunk
from dataharvest.objects import ObjectStore
from dataharvest.ports import Deliveries, Sender
from dataharvest.rules.decompression import decompressor_for
from dataharvest.rules.header import Header, read_header
from dataharvest.rules.splitting import Piece, RecordSplitter

logger = logging.getLogger(__name__)

_SENDS_AT_ONCE = 4
_WINDOW_POLL_S = 0.02


class LeaseLost(Exception):
    """Another splitter has the delivery now; whatever this one sent is the same, byte for byte."""


@dataclass
class Splitter:
    """Splits one delivery at a time under a lease; several may run side by side."""

    objects: ObjectStore
    deliveries: Deliveries
    sender: Sender
    chunks_in_flight: int
    max_content_bytes: int
    lease_s: float

    async def split(self, lease: Lease) -> None:
        """Send every chunk of the delivery and seal it.

        Chunks that are in the ledger already, from a splitter that died, are not sent again.

        Raises:
            Rejected: the content can't be read as a file of its entity.
            ObjectTrouble: the object can't be read now.
            LeaseLost: another splitter took over.
            Unavailable: a service is not there.
        """
        reading = _Reading(lease, self.objects, max_content_bytes=self.max_content_bytes)
        flight = _Flight(lease, self, stored=await self.deliveries.stored_chunks(lease.delivery_id))
        try:
            async for piece in reading.pieces():
                await flight.send(piece, header=reading.header)
            await flight.landed()
        finally:
            flight.cancel()
        if not await self.deliveries.seal(lease, reading.sealing(chunk_count=flight.chunk_count)):
            raise LeaseLost


class _Reading:
    """One pass over the content: decompressed, hashed, header read, cut into pieces."""

    def __init__(self, lease: Lease, objects: ObjectStore, *, max_content_bytes: int) -> None:
        self._lease = lease
        self._objects = objects
        self._decompressor = decompressor_for(lease.source.key, max_content_bytes=max_content_bytes)
        self._content_hash = sha256()
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
            for data in self._decompressor.feed(compressed):
                self._content_hash.update(data)
                self._end += len(data)
                yield data
        self._decompressor.finish()

    def _begin(self, start: bytes, *, at_end: bool) -> RecordSplitter | None:
        self._header = read_header(start, entity=all_entities()[self._lease.entity], at_end=at_end)
        if self._header is None:
            return None
        return RecordSplitter(
            chunk_bytes=self._lease.chunk_bytes,
            byte_offset=self._header.byte_length,
            first_line=self._header.line_count + 1,
        )


class _Flight:
    """Chunks that are sent and not yet in the ledger: never more than the window."""

    def __init__(self, lease: Lease, splitter: Splitter, *, stored: dict[int, bytes]) -> None:
        self._lease = lease
        self._splitter = splitter
        self._stored = stored
        self._stored_count = len(stored)
        self._sending: set[asyncio.Task[None]] = set()
        self._renewed_at = asyncio.get_running_loop().time()
        self.chunk_count = 0

    async def send(self, piece: Piece, *, header: Header) -> None:
        """Send the piece unless the ledger has it; waits while the window is full."""
        self.chunk_count = piece.index + 1
        metadata = _metadata(self._lease, piece, header)
        stored = self._stored.get(piece.index)
        if stored is not None:
            if stored.hex() != metadata.sha256:
                raise Rejected(f"chunk {piece.index} was stored with other bytes", rule="chunk_conflict")
            return
        await self._room()
        if len(self._sending) >= _SENDS_AT_ONCE:
            await self._land(asyncio.FIRST_COMPLETED)
        value = encode_chunk(metadata, piece.data)
        self._sending.add(asyncio.create_task(self._splitter.sender.send("chunks", key=metadata.key, value=value)))

    async def landed(self) -> None:
        """Wait until Kafka has acknowledged every chunk."""
        if self._sending:
            await self._land(asyncio.ALL_COMPLETED)

    def cancel(self) -> None:
        """Stop what is still being sent; it is sent again by whoever goes on."""
        for task in self._sending:
            task.cancel()

    async def _land(self, return_when: str) -> None:
        done, self._sending = await asyncio.wait(self._sending, return_when=return_when)
        for task in done:
            task.result()

    async def _room(self) -> None:
        await self._keep_lease()
        while self.chunk_count - self._stored_count > self._splitter.chunks_in_flight:
            self._stored_count = await self._splitter.deliveries.stored_chunk_count(self._lease.delivery_id)
            if self.chunk_count - self._stored_count > self._splitter.chunks_in_flight:
                await asyncio.sleep(_WINDOW_POLL_S)
                await self._keep_lease()

    async def _keep_lease(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at < self._splitter.lease_s / 3:
            return
        if not await self._splitter.deliveries.renew(self._lease):
            raise LeaseLost
        self._renewed_at = now


def _metadata(lease: Lease, piece: Piece, header: Header) -> ChunkMetadata:
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
        misaligned_tail=piece.misaligned_tail,
    )
