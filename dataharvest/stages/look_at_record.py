"""Look at a record: an entry of the quarantine with all its bytes and its neighbours, as the bucket still has them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, Quarantine
from dataharvest.quarantine import Entry, Selection
from dataharvest.rules.duplicates import PlacedRecord
from dataharvest.stages.records_again import RecordsAgain


@dataclass(frozen=True, kw_only=True)
class Sight:
    """An entry as it can be seen."""

    entry: Entry
    content: bytes
    """Its first bytes; what is kept of it where the object is gone."""
    neighbours: tuple[PlacedRecord | None, PlacedRecord | None]
    remark: str | None
    """Why not all of it can be seen."""


@dataclass(frozen=True, kw_only=True)
class Looking:
    """Looks at entries."""

    quarantine: Quarantine
    contracts: Contracts
    objects: ObjectStore

    async def entry(self, quarantine_id: int) -> Entry:
        """The entry.

        Raises:
            Rejected: rule ``no_such_entry``.
        """
        found = await self.quarantine.entries(Selection(ids=(quarantine_id,), with_superseded=True))
        if not found:
            raise Rejected(f"There is no entry {quarantine_id} in the quarantine.", rule="no_such_entry")
        return found[0]

    async def look(self, entry: Entry, *, max_bytes: int) -> Sight:
        """The entry with at most so many of its bytes and, while its object is there, its neighbours."""
        reading = await self._reading(entry)
        content, remark = entry.raw, None
        try:
            neighbours = await reading.neighbours(entry)
            if not entry.is_whole:
                content = await _first(reading.stream(entry), max_bytes)
        except ObjectTrouble as trouble:
            neighbours = (None, None)
            remark = f"the source was removed ({trouble.message.rstrip('.')}): this is what was kept of it"
        return Sight(entry=entry, content=content, neighbours=neighbours, remark=remark)

    async def content(self, entry: Entry) -> AsyncIterator[bytes]:
        """Every byte of the entry, in pieces, as the bucket has them.

        Raises:
            Rejected: rule ``source_removed``.
        """
        if entry.is_whole:
            yield entry.raw
            return
        reading = await self._reading(entry)
        try:
            async for piece in reading.stream(entry):
                yield piece
        except ObjectTrouble as trouble:
            message = f"{entry.object_key} can't be read any more: {trouble.message}"
            raise Rejected(message, rule="source_removed") from trouble

    async def _reading(self, entry: Entry) -> RecordsAgain:
        subject = await self.quarantine.delivery(entry.delivery_id)
        number = subject.delivery.contract_version
        return RecordsAgain(subject, await self.contracts.version(entry.tenant, number), self.objects, number)


async def _first(pieces: AsyncIterator[bytes], max_bytes: int) -> bytes:
    found = bytearray()
    async for piece in pieces:
        found += piece
        if len(found) >= max_bytes:
            break
    return bytes(found[:max_bytes])
