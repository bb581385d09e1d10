"""Which logic has computed what, in memory; for tests, under the contract of the real one."""

from datetime import date

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.deliveries import SetKey
from dataharvest.replaying.recompute import ComputedSet, Recomputed


class MemoryComputedSets:
    """The port ``ComputedSets`` without a server."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def find(self, transformer: str, *, tenant: str | None, day: date | None) -> list[ComputedSet]:
        """See the port."""
        return [
            ComputedSet(
                key=key,
                version=versions[-1].version,
                state=versions[-1].state,
                is_due=self._ledger.editions.get(key, 0) > versions[-1].edition,
                logic_versions=tuple(sorted(versions[-1].logic_versions.get(transformer, set()))),
                batch_count=len(versions[-1].batches.get(transformer, [])),
            )
            for key, versions in sorted(self._ledger.versions.items())
            if versions and tenant in (None, key.tenant) and day in (None, key.business_date)
        ]

    async def history(self, transformer: str | None, *, tenant: str | None, day: date | None, limit: int) -> list[Recomputed]:
        """See the port."""
        found = [
            Recomputed(one.key, one.transformer, one.logic_version, self._version(one.key, one.edition), one.by, one.at)
            for one in self._ledger.recomputes
            if transformer in (None, one.transformer)
            and tenant in (None, one.key.tenant)
            and day in (None, one.key.business_date)
        ]
        return found[-limit:]

    def _version(self, key: SetKey, edition: int) -> int | None:
        return min((one.version for one in self._ledger.versions.get(key, []) if one.edition >= edition), default=None)
