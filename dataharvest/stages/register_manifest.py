"""Register a manifest: read it, keep it or why it can't be used, and let its set be decided about again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from dataharvest.deliveries import SetKey
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.messages import ManifestRead
from dataharvest.objects import ObjectStore, ObjectVersion
from dataharvest.ports import Manifests, Sender
from dataharvest.rules.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest

logger = logging.getLogger(__name__)

_FORBIDDEN = 403


@dataclass
class ManifestRegister:
    """Takes in manifests, each content once; the set is told every time."""

    objects: ObjectStore
    manifests: Manifests
    sender: Sender

    async def register(self, source: ObjectVersion, key: SetKey) -> bool:
        """Keep a manifest; whether it is the newest of its key and was not before.

        The set hears of one that is known already too: whoever kept it may have ended before telling.

        Raises:
            Rejected: S3 forbids to read the object.
            Unavailable: S3, PostgreSQL or Kafka is not there.
        """
        details = {"tenant": key.tenant, "business_date": key.business_date.isoformat()}
        try:
            outcome = await self._read(source)
        except ObjectTrouble as trouble:
            if trouble.code == _FORBIDDEN:
                message = f"{source.key!r} can't be read: {trouble}"
                raise Rejected(message, rule="object_forbidden", key=source.key) from trouble
            # Replaced or deleted in between: what is there now has an event of its own.
            logger.warning("manifest is gone", extra={**details, "code": trouble.code})
            return False
        before = await self.known(source.bucket, [source.key])
        manifest_id = await self.manifests.insert(key, source, outcome)
        if isinstance(outcome, Rejected):
            logger.warning("manifest rejected", extra={**details, "manifest_id": manifest_id, "rule": outcome.rule})
        else:
            logger.info("manifest read", extra={**details, "manifest_id": manifest_id})
        await self._announce(ManifestRead(tenant=key.tenant, business_date=key.business_date, manifest_id=manifest_id))
        return before != await self.known(source.bucket, [source.key])

    async def announce_missed(self, *, age_s: float) -> int:
        """Tell the sets of manifests of which they may not have heard; of how many.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there.
        """
        missed = await self.manifests.unannounced(age_s=age_s)
        for fact in missed:
            await self._announce(fact)
        return len(missed)

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """Key and ETag of the manifests that were taken in under these keys."""
        return await self.manifests.known(bucket, keys)

    async def _announce(self, fact: ManifestRead) -> None:
        await self.sender.send("progress", key=fact.key, value=fact.encode())
        await self.manifests.mark_announced(fact.manifest_id)

    async def _read(self, source: ObjectVersion) -> Manifest | Rejected:
        data = b""
        async for piece in self.objects.read(source):
            data += piece
            if len(data) > MAX_MANIFEST_BYTES:
                break
        try:
            return read_manifest(data)
        except Rejected as reason:
            return reason
