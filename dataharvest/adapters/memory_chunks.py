"""Chunks kept in memory: the fake of the port, under the same contract as PostgreSQL."""

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.deliveries import ChunkOutcome
from dataharvest.messages import ChunkMetadata
from dataharvest.ports import Position
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.versions import ACCEPTING


class MemoryChunks:
    """The port ``Chunks`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._rows = ledger.deliveries

    async def persist(self, metadata: ChunkMetadata, checked: CheckedChunk, *, position: Position) -> ChunkOutcome:
        """See the port."""
        row = self._rows.get(metadata.delivery_id)
        if row is None:
            return ChunkOutcome.NOT_ACCEPTED
        if metadata.index in row.chunks:
            same = row.chunks[metadata.index][0].sha256 == metadata.sha256
            return ChunkOutcome.SEEN if same else ChunkOutcome.CONFLICT
        if row.state not in ACCEPTING:
            return ChunkOutcome.NOT_ACCEPTED
        row.chunks[metadata.index] = (metadata, checked)
        row.written_from[metadata.index] = position
        return ChunkOutcome.STORED
