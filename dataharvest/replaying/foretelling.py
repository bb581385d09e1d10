"""A replay that is only planned: everything is read, nothing is sent."""

from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from dataharvest.errors import ObjectTrouble
from dataharvest.objects import ObjectStore
from dataharvest.ports import Deliveries
from dataharvest.replaying.effects import Effects, Foreteller, Uploads
from dataharvest.replaying.ports import KnownChunks, ReplayLedger
from dataharvest.replaying.requests import Part
from dataharvest.replaying.sources import Source
from dataharvest.stages.register_manifest import ManifestRegister
from dataharvest.tenants import ChunkKey


@dataclass(frozen=True)
class BucketUploads:
    """The port ``Uploads`` on an object store and the ledger."""

    bucket: str
    objects: ObjectStore
    deliveries: Deliveries
    manifests: ManifestRegister

    async def new_keys(self, keys: Collection[str]) -> set[str]:
        """See the port."""
        present = {key: etag for key in keys if (etag := await self._etag(key)) is not None}
        known = await self.deliveries.known(self.bucket, list(present)) | await self.manifests.known(self.bucket, list(present))
        return {key for key, etag in present.items() if (key, etag) not in known}

    async def _etag(self, key: str) -> str | None:
        try:
            found = None if key.endswith("/") else await self.objects.head(self.bucket, key)
        except ObjectTrouble:
            # A replay would not get further with it.
            return None
        return None if found is None else found.etag


async def foretell(source: Source, parts: Collection[Part], *, ledger: ReplayLedger, uploads: Uploads) -> Effects:
    """What sending these parts of a topic again would do."""
    foreteller = Foreteller(ledger, uploads)
    async with aclosing(source.items(list(parts))) as items:  # type: ignore[type-var]
        async for item in items:
            foreteller.effects.copy_count += item.is_copy
            if item.message is not None:
                await foreteller.add(item.message)
    await foreteller.finish()
    return foreteller.effects


async def foretell_from_s3(chunks: Mapping[int, KnownChunks], *, ledger: ReplayLedger) -> Effects:
    """What reading these chunks from the bucket would do, as far as the ledger knows; no file is read."""
    sets = await ledger.sets_of(chunks)
    effects = Effects(deliveries=set(chunks), sets=set(sets.values()))
    for delivery_id, known in chunks.items():
        effects.message_count += len(known.indexes)
        effects.byte_count += known.byte_count
        acting = await ledger.chunks_that_act([ChunkKey(delivery_id, index) for index in known.indexes])
        if acting:
            effects.acting["chunks are not in the ledger and would be stored"] += len(acting)
            effects.acting_sets.add(sets[delivery_id])
    return effects
