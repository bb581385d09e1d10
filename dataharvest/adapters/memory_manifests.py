"""Manifests kept in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections.abc import Sequence
from decimal import Decimal

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery, StoredManifest
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import ManifestRead
from dataharvest.objects import ObjectVersion
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest


class MemoryManifests:
    """The port ``Manifests`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._rows = ledger.manifests

    async def insert(self, key: SetKey, source: ObjectVersion, outcome: Manifest | Rejected) -> int:
        """See the port."""
        for number, row in enumerate(self._rows, start=1):
            if (row.source.bucket, row.source.key, row.source.identity) == (source.bucket, source.key, source.identity):
                return number
        self._rows.append(StoredManifest(key, source, outcome))
        return len(self._rows)

    async def unannounced(self, *, age_s: float) -> list[ManifestRead]:
        """See the port; here every manifest is old enough."""
        return [
            ManifestRead(tenant=row.key.tenant, business_date=row.key.business_date, manifest_id=number)
            for number, row in enumerate(self._rows, start=1)
            if not row.is_announced
        ]

    async def mark_announced(self, manifest_id: int) -> None:
        """See the port."""
        self._rows[manifest_id - 1].is_announced = True

    async def known(self, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
        """See the port."""
        sources = sorted((row.source for row in self._rows), key=lambda one: one.last_modified)
        return set({one.key: one.etag for one in sources if one.bucket == bucket and one.key in keys}.items())


def totals_of_rows(delivery: StoredDelivery) -> DeliveryTotals:
    """What is known of a complete delivery."""
    assert delivery.entity is not None and delivery.sealing is not None
    object_sha256 = delivery.sealing.object_sha256
    left_out = delivery.quarantined_count + sum(delivery.duplicates.values()) + sum(delivery.accepted.values())
    return DeliveryTotals(
        delivery_id=delivery.delivery_id,
        entity=delivery.entity,
        records=delivery.persisted_count + left_out,
        sums={name: Decimal(amount) for name, amount in delivery.sums.items()},
        object_sha256=object_sha256.hex() if object_sha256 else None,
        content_sha256=delivery.sealing.content_sha256.hex(),
        left_out=left_out,
    )
