"""Sets kept in memory: the fake of the port, under the same contract as PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import count

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredVersion
from dataharvest.deliveries import SetKey
from dataharvest.rules.needs import Rule, persisted
from dataharvest.rules.progress import SetProgress, nothing, rule_key
from dataharvest.rules.ranges import Ranges, union
from dataharvest.rules.versions import IN_PROGRESS, DeliveryView, SetView, VersionView

_ids = count(1)


class MemorySets:
    """The port ``Sets`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def progress(self, key: SetKey, *, rules: Iterable[Rule]) -> SetProgress:
        """See the port."""
        found = nothing()
        for row in self._ledger.of_set(key):
            if row.state in IN_PROGRESS and row.entity:
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
    async def locked(self, key: SetKey) -> AsyncIterator["MemoryLockedSet"]:
        """See the port."""
        async with self._ledger.locks.setdefault(key, asyncio.Lock()):
            draft = deepcopy(self._ledger.versions.get(key, []))
            yield MemoryLockedSet(self._ledger, key, draft)
            self._ledger.versions[key] = draft

    async def unsent_readiness(self, key: SetKey) -> list[tuple[int, str]]:
        """See the port."""
        versions = self._ledger.versions.get(key, [])
        return [(one.version, rule) for one in versions for rule, sent in sorted(one.readiness.items()) if not sent]

    async def mark_readiness_sent(self, key: SetKey, version: int, rule: str) -> None:
        """See the port."""
        if found := self._ledger.version(key, version):
            found.readiness[rule] = True


class MemoryLockedSet:
    """A draft of a set's versions that counts when the block ends without an error."""

    def __init__(self, ledger: MemoryLedger, key: SetKey, draft: list[StoredVersion]) -> None:
        self._ledger = ledger
        self._key = key
        self._draft = draft

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
            )
            for row in self._ledger.of_set(self._key)
            if row.state in IN_PROGRESS | {"complete"}
        )
        return SetView(deliveries=deliveries, versions=tuple(map(_view, self._draft)))

    async def create_version(self, version: int, deliveries: Mapping[str, int]) -> None:
        """See the port."""
        for one in self._draft:
            if one.state in ("open", "blocked") and not _has_begun_to_publish(one):
                one.state = "cancelled"
        facts = set(map(persisted, deliveries))
        self._draft.append(StoredVersion(next(_ids), version, dict(deliveries), facts=facts))
        for row in self._ledger.of_set(self._key):
            if row.state == "complete" and row.delivery_id != deliveries.get(row.entity or "", row.delivery_id):
                row.state = "superseded"

    async def announce(self, version: int, rule: Rule) -> None:
        """See the port."""
        for one in self._draft:
            if one.version == version:
                one.readiness.setdefault(rule.name, False)

    async def set_published(self, version: int) -> None:
        """See the port."""
        for one in self._draft:
            if one.version == version and one.state == "open":
                one.state = "published"


def _view(one: StoredVersion) -> VersionView:
    return VersionView(
        version=one.version,
        state=one.state,
        deliveries=dict(one.deliveries),
        facts=frozenset(one.facts),
        announced=frozenset(one.readiness),
    )


def _has_begun_to_publish(one: StoredVersion) -> bool:
    return any(batch.is_computed for rule, batches in one.batches.items() if rule.startswith("outbound.") for batch in batches)


def _ranges(indexes: Iterable[int]) -> Ranges:
    return union([], [[index, index] for index in indexes])
