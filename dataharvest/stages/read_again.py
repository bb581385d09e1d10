"""Read again: another look at some chunks of a delivery, from the object version that it was read from."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate

from dataharvest.contracts import Contract
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.messages import ChunkMetadata
from dataharvest.objects import PART_BYTES, ObjectStore
from dataharvest.rules.decompression import decompressor_for
from dataharvest.rules.duplicates import Copy, PlacedRecord, copies_in, records_in
from dataharvest.rules.header import Header, read_header
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.scanning import scanner_for
from dataharvest.rules.transcoding import transcoder_for
from dataharvest.stages.persist import check

STEP_BYTES = 8 << 20
"""Of chunks that are read again before others are served."""
STEP_COPIES = 50_000
"""That are found in such chunks: where they are many they take longer than the reading."""
STEP_CHUNKS = 1_000
"""More are not even looked up, however many have to be read."""
_MAX_CONTENT_BYTES = 1 << 62
"""The content was read before and was not too long."""


@dataclass
class ReadingAgain:
    """Another look at some chunks of a delivery, from its pinned object."""

    subject: JudgedDelivery
    contract: Contract
    objects: ObjectStore
    _header: Header | None = None
    _byte_count: int = 0
    _copy_count: int = 0

    @property
    def most_chunks(self) -> int | None:
        """How many chunks one step may read; None for all, where the content has to be decoded from its start."""
        return STEP_CHUNKS if self._is_plain else None

    @property
    def has_read_much(self) -> bool:
        """Whether it took so long that others are served before anything else is done."""
        return self._byte_count > STEP_BYTES // 4 or self._copy_count > STEP_COPIES // 4

    @property
    def is_enough(self) -> bool:
        """Whether so many copies were found that others are served before more chunks are read.

        Never where the content has to be decoded from its start.
        """
        return self._is_plain and self._copy_count >= STEP_COPIES

    async def load_header(self) -> None:
        """Read the file's header, unless it was read before.

        Raises:
            ObjectTrouble: the object is gone, or has other bytes than it had.
            Rejected: the header is none under this contract.
        """
        if self._header is None:
            self._header = await self._read_header()

    async def content_range(self, start: int, byte_length: int) -> AsyncIterator[bytes]:
        """The bytes of a part of the content, in pieces.

        Raises:
            ObjectTrouble: the object is gone, or has other bytes than it had.
        """
        position, end = 0, start + byte_length
        pieces = self._content()
        if self._is_plain:
            position = start
            pieces = self.objects.read(self.subject.source, start=start, part_bytes=min(PART_BYTES, max(1, byte_length)))
        async for piece in pieces:
            if position + len(piece) > start:
                yield piece[max(0, start - position) : end - position]
            position += len(piece)
            if position >= end:
                return

    def in_one_step(self, wanted: Sequence[ChunkPlace]) -> Sequence[ChunkPlace]:
        """The first of these chunks, so many that to read them takes less than a second.

        All of them where the content has to be decoded from its start: each step would do so again.
        """
        if not self._is_plain:
            return wanted
        ends = list(accumulate(place.byte_length for place in wanted))
        return wanted[: max(1, bisect_right(ends, STEP_BYTES))]

    async def chunks(self, wanted: Sequence[ChunkPlace]) -> AsyncGenerator[tuple[ChunkPlace, bytes]]:
        """The bytes of each chunk, in order.

        Raises:
            ObjectTrouble: the object is gone, or has other bytes than it had.
        """
        if not wanted:
            return
        try:
            await self.load_header()
        except Rejected as reason:
            raise _other_content() from reason
        ranges = self._plain_ranges(wanted) if self._is_plain else self._decoded_ranges(wanted)
        async for place, data in ranges:
            if sha256(data).digest() != place.sha256:
                raise _other_content()
            self._byte_count += len(data)
            yield place, data

    def copies(self, place: ChunkPlace, data: bytes, *, keys: set[str] | None) -> list[Copy]:
        """The records of a chunk that are rows by themselves, in order: those with one of these natural keys, or all."""
        assert self._header is not None
        entity = self.contract.entity(self.subject.entity)
        checked = check(self._metadata(data, place.byte_offset, place.first_line), data)
        found = list(
            copies_in(
                self.records(place, data),
                scanner=scanner_for(self.contract.delimiter),
                key_index=self._header.columns.index(entity.natural_key),
                key_kind=next(column.kind for column in entity.columns if column.name == entity.natural_key),
                keys=keys,
                left_out={one.position for one in checked.quarantined},
            )
        )
        self._copy_count += len(found)
        return found

    def records(self, place: ChunkPlace, data: bytes) -> Iterator[PlacedRecord]:
        """Every record of a chunk, in order."""
        scanner = scanner_for(self.contract.delimiter)
        return records_in(data, scanner=scanner, first_line=place.first_line, byte_offset=place.byte_offset)

    def check_record(self, record: bytes) -> CheckedChunk:
        """The row to store of one record with its line end."""
        return check(self._metadata(record, 0, 1), record)

    @property
    def _is_plain(self) -> bool:
        return self.contract.encoding == "utf-8" and self.subject.source.key.lower().endswith(".csv")

    async def _read_header(self) -> Header:
        start = b""
        async for piece in self._content():
            start += piece
            if header := self._header_in(start, at_end=False):
                return header
        header = self._header_in(start, at_end=True)
        assert header is not None, "a delivery that was sealed has a header"
        return header

    def _header_in(self, start: bytes, *, at_end: bool) -> Header | None:
        entity = self.contract.entity(self.subject.entity)
        return read_header(start, entity=entity, at_end=at_end, delimiter=self.contract.delimiter)

    async def _plain_ranges(self, wanted: Sequence[ChunkPlace]) -> AsyncIterator[tuple[ChunkPlace, bytes]]:
        for place in wanted:
            data = bytearray()
            # A part as long as the chunk: nothing behind it is asked for.
            pieces = self.objects.read(self.subject.source, start=place.byte_offset, part_bytes=max(1, place.byte_length))
            async for piece in pieces:
                data += piece
                if len(data) >= place.byte_length:
                    break
            yield place, bytes(data[: place.byte_length])

    async def _decoded_ranges(self, wanted: Sequence[ChunkPlace]) -> AsyncIterator[tuple[ChunkPlace, bytes]]:
        waiting, kept, begin = list(wanted), bytearray(), 0
        async for piece in self._content():
            kept += piece
            while waiting and begin + len(kept) >= waiting[0].byte_offset + waiting[0].byte_length:
                place = waiting.pop(0)
                start = place.byte_offset - begin
                yield place, bytes(kept[start : start + place.byte_length])
            if not waiting:
                return
            surplus = min(len(kept), max(0, waiting[0].byte_offset - begin))
            del kept[:surplus]
            begin += surplus

    async def _content(self) -> AsyncIterator[bytes]:
        decompressor = decompressor_for(self.subject.source.key, max_content_bytes=_MAX_CONTENT_BYTES)
        transcoder = transcoder_for(self.contract.encoding)
        async for raw in self.objects.read(self.subject.source):
            try:
                pieces = [transcoder.feed(piece) for piece in decompressor.feed(raw)]
            except Rejected as reason:
                raise _other_content() from reason
            for piece in pieces:
                yield piece
        yield transcoder.finish()

    def _metadata(self, data: bytes, byte_offset: int, first_line: int) -> ChunkMetadata:
        assert self._header is not None
        return ChunkMetadata(
            tenant=self.subject.tenant,
            business_date=self.subject.business_date,
            delivery_id=self.subject.delivery_id,
            entity=self.subject.entity,
            index=0,
            byte_offset=byte_offset,
            byte_length=len(data),
            first_line=first_line,
            sha256=sha256(data).hexdigest(),
            columns=self._header.columns,
            header=self._header.raw,
            delimiter=self.contract.delimiter,
            decimal_mark=self.contract.decimal_mark,
        )


def _other_content() -> ObjectTrouble:
    return ObjectTrouble("the object has other bytes than when it was read", code=412)
