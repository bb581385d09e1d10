"""Records again: quarantined records and their neighbours, read once more from the object that they came from."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from dataharvest.contracts import Contract
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.objects import ObjectStore
from dataharvest.quarantine import TAIL, Entry
from dataharvest.repairs import Repairable
from dataharvest.rules.duplicates import Copy, PlacedRecord
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.repairs import Place
from dataharvest.stages.read_again import ReadingAgain

MAX_REPAIRED_BYTES = 16 * 1_048_576
"""Longest content of one entry that is read into memory to be repaired."""


@dataclass
class RecordsAgain:
    """Another look at the records of one delivery.

    Every method raises ObjectTrouble when the object is gone or has other bytes, and Unavailable when the store is not there.
    """

    subject: Repairable
    contract: Contract
    """Under which the records are read."""
    objects: ObjectStore
    contract_version: int

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._reading = ReadingAgain(self.subject.delivery, self.contract, self.objects)

    async def check(self, record: bytes) -> CheckedChunk:
        """What becomes of a record, or of several, under the file's own header.

        Raises:
            Rejected: the header is none under this contract.
        """
        await self._reading.load_header()
        return self._reading.check_record(record)

    def stream(self, entry: Entry) -> AsyncIterator[bytes]:
        """Every byte of the entry, in pieces."""
        return self._reading.content_range(entry.byte_offset, entry.byte_length)

    async def content_of(self, entry: Entry) -> bytes:
        """Every byte of the entry.

        Raises:
            Rejected: rule ``too_long_to_repair``.
        """
        if entry.is_whole:
            return entry.raw
        if entry.byte_length > MAX_REPAIRED_BYTES:
            message = f"Entry {entry.quarantine_id} is {entry.byte_length:,} bytes long: that takes a corrected file."
            raise Rejected(message, rule="too_long_to_repair")
        return b"".join([piece async for piece in self.stream(entry)])

    async def copies(self, indexes: Collection[int]) -> AsyncIterator[tuple[ChunkPlace, list[Copy]]]:
        """Every record of these chunks that breaks no rule by itself, in order."""
        wanted = [place for place in self.subject.chunks if place.index in indexes]
        async for place, data in self._reading.chunks(wanted):
            yield place, self._reading.copies(place, data, keys=None)

    async def places_of(self, keys: Collection[str], *, rule: DuplicateRule) -> dict[str, Place]:
        """Where the record stands that counts for each of these natural keys; the whole file is read."""
        found: dict[str, Place] = {}
        async for chunk, copies in self.copies({one.index for one in self.subject.chunks}):
            for copy in copies:
                if copy.natural_key in keys and (rule == "last_wins" or copy.natural_key not in found):
                    found[copy.natural_key] = Place(chunk.index, copy.position)
        return found

    async def neighbours(self, entry: Entry) -> tuple[PlacedRecord | None, PlacedRecord | None]:
        """The record before and the one behind; None where there is none, or where it is part of a misaligned tail."""
        before: PlacedRecord | None = None
        after: PlacedRecord | None = None
        indexes = {entry.chunk_index - 1, entry.chunk_index, entry.chunk_index + 1}
        if entry.rule == TAIL:
            # Nothing behind it can be told apart, and its own chunk may be the rest of a huge file.
            indexes = {entry.chunk_index - 1} if entry.position == 0 else {entry.chunk_index}
        wanted = [place for place in self.subject.chunks if place.index in indexes and place.byte_length <= MAX_REPAIRED_BYTES]
        async for place, data in self._reading.chunks(wanted):
            for record in self._reading.records(place, data):
                if record.byte_offset < entry.byte_offset:
                    before = record
                elif record.byte_offset >= entry.byte_offset + max(1, entry.byte_length) and not after and entry.rule != TAIL:
                    after = record
        return before, after


def missing_source(trouble: ObjectTrouble, entry: Entry) -> Rejected:
    """Why an entry can't be read again."""
    message = (
        f"{entry.object_key} can't be read any more ({trouble.message.rstrip('.')}): its records can be accepted, "
        f"anything else takes a corrected file."
    )
    return Rejected(message, rule="source_removed")
