"""What the stages need of deliveries, their chunks and manifests."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from dataharvest.deliveries import (
    LEASES_PER_TENANT,
    Announcement,
    ChunkOutcome,
    Lease,
    Sealing,
    SetKey,
)
from dataharvest.errors import Rejected
from dataharvest.messages import ChunkMetadata, ManifestRead
from dataharvest.objects import ObjectVersion
from dataharvest.ports.messaging import Position
from dataharvest.rules.keys import ObjectName
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.records import CheckedChunk


class Deliveries(Protocol):
    """Deliveries from their registration to their completion."""

    async def register(
        self, source: ObjectVersion, name: ObjectName, *, contract_version: int = 0, after: int | None = None
    ) -> int | None:
        """Insert the delivery and wake the splitters; None when this content of the key is known already.

        With ``after`` a known content is inserted once more, unless that delivery is no longer the newest of the key. The
        delivery is superseded at once when a newer one of the same tenant, date and entity was read to its end.
        """

    async def overtaken_by(self, source: ObjectVersion) -> int | None:
        """The newest delivery of the key, when it has another content of the same second and there are no versions; else None."""

    async def register_rejected(self, source: ObjectVersion, reason: Rejected) -> int | None:
        """Insert a delivery that can't be read at all; None when it is known already."""

    async def lease(self, *, per_tenant: int = LEASES_PER_TENANT, alone: bool = True) -> Lease | None:
        """The right to split the next delivery, tenants in turn; None when there is none to split.

        A tenant's leases belong to one splitter at a time, at most ``per_tenant`` of them; a paused tenant gets none. One
        that the death of one more reader would condemn is given only to a splitter that is ``alone``, reading nothing else.
        """

    async def renew(self, lease: Lease) -> bool:
        """Prolong the lease; False when another splitter has it."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back unfinished, so that another splitter can go on at once."""

    async def put_aside(self, lease: Lease, failure: Mapping[str, Any]) -> None:
        """Put the delivery aside, with the reason and a next try; a newer one that was read to its end supersedes it."""

    async def stored_chunks(self, delivery_id: int) -> dict[int, bytes]:
        """SHA-256 by index of the chunks that need not be sent: in the ledger, or dead-lettered and waiting for a replay."""

    async def note_sent(self, lease: Lease, offsets: Mapping[int, int]) -> None:
        """Keep the largest offset by partition of the chunks sent, to know later when all of them were read."""

    async def note_gap(self, delivery_id: int, failure: Mapping[str, Any] | None) -> None:
        """Keep why a sealed delivery's missing chunks can't be sent again; None once they were."""

    async def stored_chunk_count(self, delivery_id: int) -> int:
        """Number of chunks in the ledger."""

    async def seal(self, lease: Lease, sealing: Sealing, *, sent_offsets: Mapping[int, int] | None = None) -> bool:
        """Record the end of the content, or end the delivery as a repeat; False when the lease was lost.

        ``sent_offsets``, if given, are kept as `note_sent` keeps them.
        Older deliveries of the same tenant, date and entity that wait because they can't be read are superseded.
        """

    async def reject(self, delivery_id: int, reason: Rejected) -> bool:
        """End the delivery and remove its rows; False when it had ended or completed before.

        The newest delivery that ended as a repeat of it is to be split after all.
        """

    async def unannounced(self) -> list[Announcement]:
        """Deliveries whose sealing or end the set has not been told of."""

    async def mark_announced(self, *delivery_ids: int) -> None:
        """The sets of these deliveries were told."""

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the newest delivery under each of these keys."""

    def wake_ups(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever a delivery was registered."""


class Chunks(Protocol):
    """The ledger of chunks and the rows that go with it."""

    async def persist(self, metadata: ChunkMetadata, checked: CheckedChunk, *, position: Position) -> ChunkOutcome:
        """Rows, quarantined records and ledger row in one transaction, or nothing of them."""


class Manifests(Protocol):
    """Manifests of every set, those that can't be used too."""

    async def insert(self, key: SetKey, source: ObjectVersion, outcome: Manifest | Rejected) -> int:
        """Store what was read, or why it can't be used; returns its number, the same when this content is known already."""

    async def unannounced(self, *, age_s: float) -> list[ManifestRead]:
        """Manifests registered at least that long ago of which the set may not have been told, oldest first."""

    async def mark_announced(self, manifest_id: int) -> None:
        """Note that the set was told."""

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the newest manifest under each of these keys."""


class Removals(Protocol):
    """Rows of deliveries that nobody needs any more."""

    async def due(self, key: SetKey | None = None) -> list[int]:
        """Superseded deliveries, of one set or of all, that have rows which no version needs any more."""

    async def remove(self, delivery_id: int) -> bool:
        """Remove the rows of a superseded delivery; its ledger stays. False when a version needs them or they are gone."""
