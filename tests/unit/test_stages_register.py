"""An event is a hint: what the bucket holds decides."""

import orjson
import pytest

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_deliveries import MemoryDeliveries
from dataharvest.adapters.memory_kafka import MemorySender
from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.adapters.memory_manifests import MemoryManifests
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.stages.register import register
from dataharvest.stages.register_manifest import ManifestRegister

BUCKET = "uploads"
KEY = "acme/end of day/accounts_20261123.csv"


class ForbiddenStore(MemoryObjectStore):
    """A store that lets nobody look."""

    async def head(self, bucket: str, key: str) -> ObjectVersion | None:
        raise ObjectTrouble("forbidden", code=403)


def event(key: str, *, bucket: str = BUCKET) -> bytes:
    return orjson.dumps(
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}
    )


class Site:
    """A bucket and a ledger in memory."""

    def __init__(self, objects: MemoryObjectStore | None = None) -> None:
        self.objects = objects or MemoryObjectStore(versioned=True)
        self.ledger = MemoryLedger()

    async def hear(self, value: bytes) -> list[tuple[str, str]]:
        deliveries = MemoryDeliveries(self.ledger, chunk_bytes=100, lease_s=30)
        manifests, contracts = ManifestRegister(self.objects, MemoryManifests(self.ledger), MemorySender()), MemoryContracts()
        await register(
            value, bucket=BUCKET, objects=self.objects, deliveries=deliveries, manifests=manifests, contracts=contracts
        )
        return [(row.source.key, row.state) for row in self.ledger.deliveries.values()]


@pytest.mark.parametrize("written", [KEY, "acme/end+of+day/accounts_20261123.csv", "acme/end%20of%20day/accounts_20261123.csv"])
async def test_an_object_is_registered_however_its_key_is_written(written: str) -> None:
    site = Site()
    await site.objects.put(BUCKET, KEY, b"x")
    for _ in range(2):
        assert await site.hear(event(written)) == [(KEY, "registered")]


async def test_what_is_gone_is_not_registered() -> None:
    assert await Site().hear(event(KEY)) == []


async def test_another_bucket_s_event_is_ignored() -> None:
    site = Site()
    await site.objects.put(BUCKET, KEY, b"x")
    assert await site.hear(event(KEY, bucket="another")) == []


async def test_folders_and_manifests_are_no_deliveries() -> None:
    site = Site()
    for key in ("acme/folder/", "acme/manifest_20261123.json"):
        await site.objects.put(BUCKET, key, b"")
        assert await site.hear(event(key)) == []


async def test_a_name_that_says_nothing_is_a_rejected_delivery() -> None:
    site = Site()
    await site.objects.put(BUCKET, "acme/secrets_20261123.csv", b"x")
    assert await site.hear(event("acme/secrets_20261123.csv")) == [("acme/secrets_20261123.csv", "rejected")]


async def test_an_object_that_nobody_may_look_at_is_a_dead_letter() -> None:
    with pytest.raises(Rejected) as refused:
        await Site(ForbiddenStore(versioned=True)).hear(event(KEY))
    assert refused.value.rule == "object_forbidden"


async def test_the_last_of_several_versions_is_what_counts() -> None:
    site = Site()
    for content in (b"first", b"second"):
        await site.objects.put(BUCKET, KEY, content)
    assert await site.hear(event(KEY)) == [(KEY, "registered")]
    [row] = site.ledger.deliveries.values()
    assert row.source.size_bytes == len(b"second")
