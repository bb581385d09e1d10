"""Which logic has computed what, in memory; for tests, under the contract of the real one."""

from datetime import date

from dataharvest.adapters.memory_ledger import MemoryLedger
from dataharvest.replaying.recompute import ComputedSet


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
