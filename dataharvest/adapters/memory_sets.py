"""Sets kept in memory: the fake of the port, under the same contract as PostgreSQL."""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery, StoredManifest, StoredRecompute, StoredVersion
from dataharvest.adapters.memory_manifests import totals_of_rows
from dataharvest.contracts import Contract
from dataharvest.deliveries import SetKey, set_is_publishing
from dataharvest.quarantine import HistoryLine, Signature
from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.needs import Rule, persisted
from dataharvest.rules.notifying import Note
from dataharvest.rules.progress import SetProgress, nothing, rule_key
from dataharvest.rules.ranges import Ranges, union
from dataharvest.rules.versions import ACCEPTING, IN_PROGRESS, DeliveryView, SetView, VersionView

_ids = count(1)


class MemorySets:
    """The port ``Sets`` without a server."""

    def __init__(self, ledger: MemoryLedger, *, contracts: MemoryContracts | None = None) -> None:
        self._ledger = ledger
        self._contracts = contracts or MemoryContracts()

    async def progress(self, key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        """See the port."""
        found = nothing()
        for row in self._ledger.of_set(key):
            if row.state in ACCEPTING and row.entity and not row.is_broken:
                chunks = row.sealing.chunk_count if row.sealing else None
                found["deliveries"][str(row.delivery_id)] = {
                    "entity": row.entity,
                    "chunks": chunks,
                    "stored": _ranges(row.chunks),
                }
        provided = {rule.name: rule.provides for rule in rules}
        for version in self._ledger.versions.get(key, []):
            for rule, batches in version.batches.items():
                if version.state == "open" and provided.get(rule) not in version.facts:
                    done = _ranges(batch.index for batch in batches if batch.is_done)
                    found["rules"][rule_key(version.version, rule)] = {"count": len(batches), "done": done}
        return found

    async def confirm_done(self, key: SetKey, version: int, rule: Rule) -> None:
        """See the port."""
        found = self._ledger.version(key, version)
        batches = found.batches.get(rule.name, []) if found else []
        if found and found.state == "open" and batches and all(batch.is_done for batch in batches):
            found.facts.add(rule.provides)

    @asynccontextmanager
    async def locked(self, key: SetKey, *, reads_rows: bool = False) -> AsyncIterator["MemoryLockedSet"]:
        """See the port; there is nothing to be made quick to find."""
        async with self._ledger.locks.setdefault(key, asyncio.Lock()):
            locked = MemoryLockedSet(self._ledger, key, deepcopy(self._ledger.versions.get(key, [])), self._contracts)
            yield locked
            self._ledger.versions[key], self._ledger.editions[key] = locked.draft, locked.edition
            self._ledger.recomputes += locked.recomputes
            for note in locked.notes:
                self._ledger.notify(key, note)

    async def sets_due(self, *, settle_s: float) -> list[SetKey]:
        """See the port."""
        return [key for key in self._ledger.set_keys() if self._is_due(key, settle_s)]

    def _is_due(self, key: SetKey, settle_s: float) -> bool:
        rows = list(self._ledger.of_set(key))
        edition, newest = self._ledger.editions.get(key, 0), self._ledger.versions.get(key, [])[-1:]
        used = {one for version in newest if version.edition == edition for one in version.deliveries.values()}
        is_quiet = all((row.sealed_at or -math.inf) <= self._ledger.clock() - settle_s for row in rows)
        is_moving = any(row.state in IN_PROGRESS - {"waiting"} and not self._ledger.is_overtaken(row) for row in rows)
        return is_quiet and not is_moving and any(row.state == "complete" and row.delivery_id not in used for row in rows)

    async def unsent_readiness(self, key: SetKey) -> list[tuple[int, str]]:
        """See the port."""
        versions = self._ledger.versions.get(key, [])
        return [(one.version, rule) for one in versions for rule, sent in sorted(one.readiness.items()) if not sent]

    async def mark_readiness_sent(self, key: SetKey, sent: Sequence[tuple[int, str]]) -> None:
        """See the port."""
        for version, rule in sent:
            if found := self._ledger.version(key, version):
                found.readiness[rule] = True


class MemoryLockedSet:
    """A draft of a set's versions that counts when the block ends without an error."""

    def __init__(self, ledger: MemoryLedger, key: SetKey, draft: list[StoredVersion], contracts: MemoryContracts) -> None:
        self._ledger = ledger
        self._contracts = contracts
        self._key = key
        self.draft = draft
        self.edition = ledger.editions.get(key, 0)
        self.notes: list[Note] = []
        self.recomputes: list[StoredRecompute] = []

    def version(self, number: int) -> StoredVersion | None:
        """The version as it will be."""
        return next((one for one in self.draft if one.version == number), None)

    async def view(self) -> SetView:
        """See the port."""
        deliveries = tuple(
            DeliveryView(
                delivery_id=row.delivery_id,
                entity=row.entity or "",
                state=row.state,
                last_modified=row.source.last_modified,
                object_key=row.source.key,
                open_quarantine=row.quarantined_count,
                is_broken=row.is_broken,
            )
            for row in self._ledger.of_set(self._key)
            if row.state in IN_PROGRESS | {"complete"}
        )
        seals = [row.sealed_at for row in self._ledger.of_set(self._key) if row.sealed_at is not None]
        since_seal_s = self._ledger.clock() - max(seals) if seals else math.inf
        versions = tuple(map(_view, self.draft))
        return SetView(
            deliveries=deliveries,
            versions=versions,
            since_seal_s=since_seal_s,
            edition=self.edition,
            has_manifest=await self.manifest() is not None,
            is_totals_note_due=self._key in self._ledger.problems or not all(row.is_decided for row in self._manifests()),
            has_unsent=not all(sent for one in self.draft for sent in one.readiness.values()),
            has_unneeded=any(one.has_unneeded_rows for one in self._ledger.of_set(self._key)),
            contract_version=self._contracts.newest(self._key.tenant),
        )

    async def contract_of(self, tenant: str, number: int) -> Contract:
        """See the port."""
        return await self._contracts.version(tenant, number)

    async def manifest(self) -> Manifest | None:
        """See the port."""
        rows = enumerate(row for row in self._manifests() if isinstance(row.outcome, Manifest))
        newest = max(rows, key=lambda one: (one[1].source.last_modified, one[1].source.key, one[0]), default=None)
        outcome = newest[1].outcome if newest else None
        return outcome if isinstance(outcome, Manifest) else None

    async def manifest_put_at(self) -> datetime | None:
        """See the port."""
        rows = [row for row in self._manifests() if isinstance(row.outcome, Manifest)]
        return max((row.source.last_modified for row in rows), default=None)

    def _manifests(self) -> list[StoredManifest]:
        return [row for row in self._ledger.manifests if row.key == self._key]

    async def totals(self, delivery_ids: Collection[int]) -> dict[str, DeliveryTotals]:
        """See the port."""
        rows = [self._ledger.deliveries[delivery_id] for delivery_id in delivery_ids]
        return {row.entity: totals_of_rows(row) for row in rows if row.entity}

    async def set_totals_problem(self, problem: Mapping[str, Any] | None) -> None:
        """See the port."""
        for row in self._manifests():
            row.is_decided = True
        noted = self._ledger.problems.get(self._key)
        if noted and noted["rule"] not in ("control_totals", "manifest_required", "stored_manifest"):
            return
        if problem is None:
            self._ledger.problems.pop(self._key, None)
        else:
            self._ledger.problems[self._key] = dict(problem)

    async def create_version(self, version: int, deliveries: Mapping[str, int], *, waived: Collection[str] = ()) -> float:
        """See the port."""
        bases = self._cancel_unpublished()
        facts = set(map(persisted, (*deliveries, *waived)))
        now = self._ledger.clock()
        made = StoredVersion(next(_ids), version, dict(deliveries), created_at=now, facts=facts, edition=self.edition)
        made.base_version_id = self._base(bases)
        self.draft.append(made)
        for row in self._ledger.of_set(self._key):
            newer = deliveries.get(row.entity or "", row.delivery_id)
            if row.state == "complete" and row.delivery_id != newer:
                row.state = "superseded"
                self._ledger.repairs += [_dropped(one, by=newer) for one in _standing_repairs(self._ledger.repairs, row)]
            elif row.state in ("sealed", "judging") and self._ledger.is_overtaken(row) and not row.is_broken:
                row.state, row.is_announced = "superseded", False
        return self._since_arrival_s(deliveries)

    async def raise_edition(self) -> int:
        """See the port."""
        self._cancel_unpublished()
        if publishing := [one.version for one in self.draft if one.state in ("open", "blocked")]:
            raise set_is_publishing(self._key, publishing[0])
        self.edition += 1
        return self.edition

    def _cancel_unpublished(self) -> set[int | None]:
        cancelled = [one for one in self.draft if one.state in ("open", "blocked") and not _has_begun_to_publish(one)]
        for one in cancelled:
            one.state = "cancelled"
        return {one.base_version_id for one in cancelled}

    def _base(self, bases: Collection[int | None]) -> int | None:
        standing = [one for one in self.draft if one.state != "cancelled"]
        newest = standing[-1] if standing else None
        if newest is None or newest.state != "published" or newest.edition != self.edition:
            return None
        states = {self._ledger.deliveries[one].state for one in newest.deliveries.values()}
        return newest.set_version_id if newest.set_version_id in bases or states <= {"complete"} else None

    def _since_arrival_s(self, deliveries: Mapping[str, int]) -> float:
        arrivals = [self._ledger.deliveries[delivery_id].registered_at for delivery_id in deliveries.values()]
        return self._ledger.clock() - max(arrivals) if arrivals else 0.0

    async def traceparents(self, delivery_ids: Collection[int]) -> list[str]:
        """See the port."""
        found = [self._ledger.deliveries[delivery_id].traceparent for delivery_id in sorted(delivery_ids)]
        return [one for one in found if one]

    async def note_trace(self, version: int, traceparent: str) -> None:
        """See the port."""
        for one in self.draft:
            if one.version == version:
                one.traceparent = traceparent

    async def notify(self, note: Note) -> None:
        """See the port."""
        self.notes.append(note)

    async def note_recompute(self, transformer: str, *, logic_version: int, by: Signature) -> None:
        """See the port."""
        self.recomputes.append(StoredRecompute(self._key, transformer, logic_version, self.edition, by, datetime.now(UTC)))

    async def announce(self, version: int, *rules: Rule) -> None:
        """See the port."""
        for one in self.draft:
            if one.version == version:
                one.readiness |= {rule.name: False for rule in rules if rule.name not in one.readiness}

    async def set_published(self, version: int) -> float | None:
        """See the port."""
        for one in self.draft:
            if one.version == version and one.state == "open":
                one.state = "published"
                return self._since_arrival_s(one.deliveries)
        return None


def _view(one: StoredVersion) -> VersionView:
    return VersionView(
        version=one.version,
        state=one.state,
        deliveries=dict(one.deliveries),
        facts=frozenset(one.facts),
        announced=frozenset(one.readiness),
        edition=one.edition,
    )


def _has_begun_to_publish(one: StoredVersion) -> bool:
    return any(batch.is_computed for rule, batches in one.batches.items() if rule.startswith("outbound.") for batch in batches)


def _ranges(indexes: Iterable[int]) -> Ranges:
    return union([], [[index, index] for index in indexes])


def _standing_repairs(repairs: Iterable[HistoryLine], row: StoredDelivery) -> list[HistoryLine]:
    """The last that was done about each entry of a delivery."""
    return list({one.quarantine_id: one for one in repairs if one.delivery_id == row.delivery_id}.values())


def _dropped(one: HistoryLine, *, by: int) -> HistoryLine:
    why = f"delivery {by} of {one.entity} replaced delivery {one.delivery_id}"
    lost = replace(one, persisted_count=0, duplicate_count=0, accepted_count=0, content=None, contract_version=None)
    return replace(lost, action="drop", who="dataharvest", why=why, superseded_by=by)
