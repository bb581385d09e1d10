"""Batches kept in memory: the fake of the port, under the same contract as PostgreSQL."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import polars as pl

from dataharvest.adapters.memory_carrying import MemoryBesideBase
from dataharvest.adapters.memory_frames import Row, frame_of, rows_of
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredBatch, StoredVersion
from dataharvest.adapters.memory_relating import relate_rows
from dataharvest.adapters.memory_sets import MemoryLockedSet
from dataharvest.deliveries import OpenBatch, SetKey
from dataharvest.entities import all_entities
from dataharvest.messages import Batch, RuleReady
from dataharvest.ports import LockedSet, Position
from dataharvest.rules.carrying import NOTHING, Carried, is_from_links
from dataharvest.rules.notifying import Note
from dataharvest.rules.outbound_messages import LastMessage, OutboundRow
from dataharvest.transformers import all_transformers
from dataharvest.transformers.model import Per, Reads


class MemoryWork:
    """The port ``Work`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def record_counts(self, ready: RuleReady) -> dict[str, int]:
        """See the port."""
        version = self._version(ready)
        deliveries = version.deliveries if version else {}
        return {entity: self._ledger.deliveries[number].persisted_count for entity, number in deliveries.items()}

    @asynccontextmanager
    async def beside_base(self, ready: RuleReady) -> AsyncIterator[MemoryBesideBase | None]:
        """See the port."""
        version = self._version(ready)
        base = self._ledger.base_of(version) if version else None
        is_due = version is not None and version.state == "open" and ready.rule not in version.batches
        yield MemoryBesideBase(self._ledger, version, base) if version and base and is_due else None

    async def plan(self, ready: RuleReady, *, batch_count: int, carried: Carried = NOTHING, is_held: bool = False) -> bool:
        """See the port."""
        version = self._version(ready)
        if version is None or version.state != "open" or ready.rule in version.batches:
            return False
        version.batches[ready.rule] = [
            StoredBatch(index, batch_count, carried=carried, is_sent=is_held) for index in range(batch_count)
        ]
        return True

    async def plan_small(self, ready: RuleReady, *, at_most: int) -> tuple[dict[str, int], bool]:
        """See the port."""
        counts = await self.record_counts(ready)
        is_small = bool(counts) and sum(counts.values()) <= at_most
        return counts, is_small and await self.plan(ready, batch_count=1, is_held=True)

    async def is_done(self, batch: Batch) -> bool:
        """See the port."""
        version = self._version(batch)
        planned = version.batches.get(batch.rule, []) if version else []
        return any(one.is_done for one in planned if (one.index, one.count) == (batch.batch, batch.batch_count))

    async def release(self, batch: Batch) -> None:
        """See the port."""
        version = self._version(batch)
        for one in version.batches.get(batch.rule, []) if version else []:
            if one.index == batch.batch and one.position is None and not one.is_done:
                one.is_sent = False

    async def unsent(self, ready: RuleReady) -> list[Batch]:
        """See the port."""
        version = self._version(ready)
        named = ready.model_dump(include={"tenant", "business_date", "version", "rule"})
        planned = version.batches.get(ready.rule, []) if version and version.state == "open" else []
        return [Batch(**named, batch=one.index, batch_count=one.count) for one in planned if not one.is_sent]

    async def mark_sent(self, batch: Batch, position: Position | None = None) -> None:
        """See the port."""
        if version := self._version(batch):
            stored = version.batches[batch.rule][batch.batch]
            stored.is_sent, stored.position = True, position

    @asynccontextmanager
    async def next_batches(self, tenant: str, *, at_once: int) -> AsyncIterator["MemoryBatchesToSend"]:
        """See the port."""
        found = [
            (Batch(tenant=tenant, business_date=key.business_date, version=one.version, rule=rule, batch=batch.index,
                   batch_count=batch.count), batch)
            for key, versions in self._ledger.versions.items() if key.tenant == tenant
            for one in versions if one.state == "open"
            for rule, batches in one.batches.items()
            for batch in batches
        ]  # fmt: skip
        dead = self._ledger.dead_work
        busy = sum(one.is_sent and not one.is_done and one.position not in dead for _, one in found)
        yield MemoryBatchesToSend(self, [batch for batch, one in found if not one.is_sent][: max(0, at_once - busy)])

    @asynccontextmanager
    async def open_batch(self, batch: Batch, *, within: LockedSet | None = None) -> AsyncIterator["MemoryLockedBatch | None"]:
        """See the port."""
        version = self._version(batch, within=within)
        if (
            version is None
            or version.state in ("cancelled", "blocked")
            or batch.batch >= len(version.batches.get(batch.rule, []))
        ):
            yield None
            return
        stored = version.batches[batch.rule][batch.batch]
        contract = max((self._ledger.deliveries[one].contract_version for one in version.deliveries.values()), default=0)
        opened = OpenBatch(
            version.set_version_id,
            stored.is_computed,
            dict(version.deliveries),
            contract,
            base_version_id=version.base_version_id,
            carried=frozenset(stored.carried.names),
            references=stored.carried.references,
        )
        yield MemoryLockedBatch(self._ledger, batch, version, opened)

    async def unsent_outbound(self, opened: OpenBatch, batch: Batch, *, kind: str) -> list[tuple[str, str, bytes]]:
        """See the port."""
        version = self._ledger.version_of(opened)
        planned = version.batches.get(f"outbound.{kind}", [])
        if any(one.is_done for one in planned if one.index == batch.batch):
            return []
        rows = version.outbound.get((kind, batch.batch), [])
        return sorted(((one.message_id, one.reference, one.payload) for one in rows), key=lambda one: one[0])

    async def mark_done(
        self, opened: OpenBatch, batch: Batch, *, provides: str | None = None, within: LockedSet | None = None
    ) -> None:
        """See the port."""
        version = self._version(batch, within=within)
        assert version is not None, "what is marked was opened"
        _end(version, batch, provides=provides)

    def trace_of(self, batch: Batch) -> str | None:
        """The span that the batch's version was made in."""
        version = self._version(batch)
        return version.traceparent if version else None

    def _version(self, message: RuleReady | Batch, *, within: LockedSet | None = None) -> StoredVersion | None:
        if within is None:
            return self._ledger.version(SetKey(message.tenant, message.business_date), message.version)
        assert isinstance(within, MemoryLockedSet), "the set was locked in the same ledger"
        return within.version(message.version)


class MemoryBatchesToSend:
    """Batches whose turn it is."""

    def __init__(self, work: MemoryWork, batches: list[Batch]) -> None:
        self.batches = batches
        self.mark_sent = work.mark_sent
        self.trace_of = work.trace_of


class MemoryLockedBatch:
    """A batch and its version; nothing else runs while a test awaits it."""

    def __init__(self, ledger: MemoryLedger, batch: Batch, version: StoredVersion, opened: OpenBatch) -> None:
        self._ledger = ledger
        self._batch = batch
        self._version = version
        self.opened = opened

    async def frames(self, reads: Reads, *, per: Per) -> dict[str, pl.DataFrame]:
        """See the port."""
        return {name: frame_of(name, columns, list(self._concerned(name, columns, per))) for name, columns in reads.items()}

    async def values(self, takes: Reads) -> pl.DataFrame:
        """See the port."""
        joined: pl.DataFrame | None = None
        for transformer, names in takes.items():
            rows = [one for (name, _), found in self._version.values.items() if name == transformer for one in found]
            mine = [
                {"reference": one["reference"], **json.loads(one["fields"])} for one in rows if self._in_slice(one["reference"])
            ]
            declared = all_transformers()[transformer].values
            frame = pl.DataFrame(mine, schema={"reference": pl.String, **{name: _kept_as(declared[name]) for name in names}})
            frame = frame.with_columns(pl.col(name).cast(declared[name]) for name in names)
            joined = frame if joined is None else joined.join(frame, on="reference")
        assert joined is not None, "an outbound message takes the values of at least one transformer"
        return joined

    async def mixed_currency_count(self) -> int:
        """See the port."""
        currency = {one["account_number"]: one["currency"] for one in self._rows("accounts")}
        found: dict[str | None, set[str | None]] = {}
        for link in self._version.links:
            found.setdefault(link["client_reference"], set()).add(currency[link["account_number"]])
        return sum(len(currencies) > 1 for currencies in found.values())

    async def relate(self) -> dict[str, int] | None:
        """See the port."""
        # What is taken over from the base is what comes out here again: the fake spares no work.
        related = relate_rows(*map(self._rows, ("clients", "portfolios", "accounts", "transactions")), mine=self._is_in_part)
        self._version.links += related.links
        self._version.orphans += related.orphans
        others = [one for one in self._version.batches[self._batch.rule] if one is not self._stored]
        return dict(self._version.orphans) if all(one.is_computed for one in others) else None

    def _is_in_part(self, index: int) -> bool:
        return index % self._batch.batch_count == self._batch.batch

    async def block(self, failure: dict[str, Any]) -> None:
        """See the port."""
        self._version.state, self._version.failure = "blocked", failure

    async def notify(self, note: Note) -> None:
        """See the port."""
        self._ledger.notify(SetKey(self._batch.tenant, self._batch.business_date), note)

    async def store_values(self, values: pl.DataFrame, *, transformer: str, logic_version: int) -> None:
        """See the port."""
        self._version.values[transformer, self._batch.batch] = values.to_dicts()
        if values.height:
            self._version.logic_versions.setdefault(transformer, set()).add(logic_version)

    async def carry_values(self, *, transformer: str) -> None:
        """See the port."""
        base = self._ledger.base_of(self._version)
        assert base is not None, "what is taken over has a base"
        rows = [row for (name, _), found in base.values.items() if name == transformer for row in found]
        self._version.values[transformer, self._batch.batch] = [row for row in rows if self._in_slice(row["reference"])]
        self._version.logic_versions[transformer] = base.logic_versions.get(transformer, set())

    async def last_outbound(self, *, kind: str) -> dict[str, LastMessage]:
        """See the port."""
        older = self._ledger.versions[SetKey(self._batch.tenant, self._batch.business_date)]
        rows = [
            row
            for one in older
            if one.version < self._version.version
            for (name, _), found in one.outbound.items()
            if name == kind
            for row in found
        ]
        mine = [row for row in rows if self._in_slice(str(row.reference))]
        return {str(row.reference): LastMessage(row.message_id, row.content_sha256, row.withdrawn) for row in mine}

    async def store_outbound(self, rows: Sequence[OutboundRow], *, kind: str) -> None:
        """See the port."""
        self._version.outbound[kind, self._batch.batch] = list(rows)

    async def mark_computed(self, *, made_by: str | None = None, is_done: bool = False, provides: str | None = None) -> None:
        """See the port."""
        base = self._ledger.base_of(self._version)
        if base is not None and self._stored.carried.names:
            by_base = base.batches[self._batch.rule][0].made_by
            made_by = by_base if made_by == by_base or "values" in self._stored.carried.names else None
        self._stored.is_computed, self._stored.made_by = True, made_by
        if is_done:
            _end(self._version, self._batch, provides=provides)

    @property
    def _stored(self) -> StoredBatch:
        return self._version.batches[self._batch.rule][self._batch.batch]

    def _rows(self, entity: str) -> list[Row]:
        delivery_id = self._version.deliveries.get(entity)
        return [] if delivery_id is None else rows_of(self._ledger.deliveries[delivery_id])

    def _concerned(self, entity: str, columns: tuple[str, ...], per: Per) -> Iterator[Row]:
        mine = [link for link in self._version.links if self._in_slice(str(link[f"{per}_reference"]))]
        if is_from_links(entity, columns):
            yield from mine
            return
        linked = all_entities()[entity].linked
        for row in self._rows(entity):
            if (self._batch.batch_count == 1 and self.opened.references is None) or (
                self._in_slice(str(row[f"{per}_reference"]))
                if entity == f"{per}s"
                else any(all(link[name] == row[name] for name in linked) for link in mine)
            ):
                yield row

    def _in_slice(self, reference: str) -> bool:
        if self.opened.references is not None:
            return reference in self.opened.references
        return crc32(reference.encode()) % self._batch.batch_count == self._batch.batch


def _end(version: StoredVersion, batch: Batch, *, provides: str | None) -> None:
    stored = version.batches[batch.rule][batch.batch]
    stored.is_done = stored.is_sent = True
    if provides is not None and stored.count == 1 and version.state == "open":
        version.facts.add(provides)


def _kept_as(kind: pl.DataType) -> pl.DataType:
    return pl.String() if isinstance(kind, pl.Decimal) else kind
