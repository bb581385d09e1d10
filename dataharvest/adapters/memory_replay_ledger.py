"""What the ledger in memory knows of messages that may come again; for tests, under the contract of the real one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery
from dataharvest.deliveries import SPLITTER_VERSION, Lease, SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import Position
from dataharvest.replaying.log import Span
from dataharvest.replaying.ports import Arrival, KnownChunks
from dataharvest.replaying.requests import Request
from dataharvest.rules.splitting import chunk_bytes_for
from dataharvest.rules.versions import ACCEPTING, IN_PROGRESS
from dataharvest.tenants import ChunkKey

_COUNTING = {"sealed", "judging", "complete"}


class MemoryReplayLedger:
    """The port ``ReplayLedger`` without a server; it does not know when a chunk was stored."""

    def __init__(self, ledger: MemoryLedger, *, chunk_bytes: int) -> None:
        self._ledger = ledger
        self._chunk_bytes = chunk_bytes

    async def arrival(self, tenant: str | None, day: date | None) -> Arrival | None:
        """See the port."""
        moments = [one.source.last_modified for one in self._of(tenant, day)]
        return Arrival(min(moments), min(moments)) if moments else None

    async def object_keys(self, tenant: str | None, day: date | None) -> set[str]:
        """See the port."""
        manifests = [one.source.key for one in self._ledger.manifests if _means(one.key, tenant, day)]
        return {*(one.source.key for one in self._of(tenant, day)), *manifests}

    async def spans(self, tenant: str | None, day: date | None) -> dict[int, Span]:
        """See the port."""
        starts: dict[int, int] = {}
        stops: dict[int, int] = {}
        for one in self._of(tenant, day):
            for place in one.positions.values():
                starts[place.partition] = min(place.offset, starts.get(place.partition, place.offset))
                stops[place.partition] = max(place.offset + 1, stops.get(place.partition, 0))
            for partition, offset in one.sent_offsets.items():
                stops[partition] = max(offset + 1, stops.get(partition, 0))
        return {partition: Span(starts.get(partition, 0), stop) for partition, stop in sorted(stops.items())}

    async def chunks_in(self, request: Request, spans: Mapping[int, Span] | None) -> dict[int, KnownChunks]:
        """See the port."""
        found = {}
        for one in self._of(request.tenant, request.business_date):
            if one.state in _COUNTING:
                indexes = {index for index, place in one.positions.items() if spans is None or _is_in(place, spans)}
                byte_count = sum(one.chunks[index][0].byte_length for index in indexes)
                if spans is None and one.state == "sealed" and one.sealing is not None:
                    indexes |= set(range(one.sealing.chunk_count))
                if indexes:
                    found[one.delivery_id] = KnownChunks(sorted(indexes), byte_count)
        return found

    async def lease_of(self, delivery_id: int) -> Lease:
        """See the port."""
        one = self._ledger.deliveries.get(delivery_id)
        if one is None:
            raise Rejected(f"there is no delivery {delivery_id}", rule="unknown_delivery")
        assert one.business_date is not None
        assert one.entity is not None
        return Lease(
            delivery_id=delivery_id,
            epoch=one.epoch,
            tenant=one.tenant,
            business_date=one.business_date,
            entity=one.entity,
            source=one.source,
            chunk_bytes=chunk_bytes_for(one.source.size_bytes, chunk_bytes=self._chunk_bytes),
            splitter_version=SPLITTER_VERSION,
            contract_version=one.contract_version,
        )

    async def sets_of(self, delivery_ids: Collection[int]) -> dict[int, SetKey]:
        """See the port."""
        return {one.delivery_id: _key(one) for one in self._of(None, None) if one.delivery_id in delivery_ids}

    async def sets_of_keys(self, object_keys: Collection[str]) -> dict[int, SetKey]:
        """See the port."""
        return {one.delivery_id: _key(one) for one in self._of(None, None) if one.source.key in object_keys}

    async def chunks_that_act(self, chunks: Collection[ChunkKey]) -> set[ChunkKey]:
        """See the port."""
        known = self._ledger.deliveries
        return {
            one
            for one in chunks
            if one.delivery_id in known
            and known[one.delivery_id].state in ACCEPTING
            and one.chunk_index not in known[one.delivery_id].chunks
        }

    async def batches_that_act(self, batches: Sequence[Batch]) -> list[Batch]:
        """See the port."""
        found = []
        for one in batches:
            version = self._ledger.version(SetKey(one.tenant, one.business_date), one.version)
            stored = version.batches.get(one.rule, [])[one.batch : one.batch + 1] if version else []
            if version and version.state in ("open", "published") and stored and not stored[0].is_done:
                found.append(one)
        return found

    async def rules_that_act(self, rules: Sequence[RuleReady]) -> list[RuleReady]:
        """See the port."""
        versions = [(one, self._ledger.version(SetKey(one.tenant, one.business_date), one.version)) for one in rules]
        return [one for one, version in versions if version and version.state == "open" and one.rule not in version.batches]

    async def judgements_that_act(self, delivery_ids: Collection[int]) -> set[int]:
        """See the port."""
        return {one.delivery_id for one in self._of(None, None) if one.delivery_id in delivery_ids and one.state == "judging"}

    async def sets_that_go_on(self, keys: Collection[SetKey]) -> set[SetKey]:
        """See the port."""
        return {
            key
            for key in keys
            if any(one.state in IN_PROGRESS for one in self._ledger.of_set(key))
            or any(one.state == "open" for one in self._ledger.versions.get(key, []))
        }

    def _of(self, tenant: str | None, day: date | None) -> Iterator[StoredDelivery]:
        every = (one for one in self._ledger.deliveries.values() if one.business_date is not None)
        return (one for one in every if _means(_key(one), tenant, day))


def _key(one: StoredDelivery) -> SetKey:
    assert one.business_date is not None
    return SetKey(one.tenant, one.business_date)


def _means(key: SetKey, tenant: str | None, day: date | None) -> bool:
    return tenant in (None, key.tenant) and day in (None, key.business_date)


def _is_in(place: Position, spans: Mapping[int, Span]) -> bool:
    span = spans.get(place.partition)
    return span is not None and span.start <= place.offset < span.stop
