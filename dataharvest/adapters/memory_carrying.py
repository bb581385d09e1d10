"""A version beside its base in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from dataharvest.adapters.memory_frames import Row, rows_of
from dataharvest.adapters.memory_ledger import MemoryLedger, StoredVersion
from dataharvest.entities import all_entities
from dataharvest.outbound import OutboundMessage
from dataharvest.rules.carrying import CHANGED_AT_MOST, COMPARED_AT_MOST, is_from_links


class MemoryBesideBase:
    """A version and its base."""

    def __init__(self, ledger: MemoryLedger, version: StoredVersion, base: StoredVersion) -> None:
        self._ledger = ledger
        self._version, self._base = version, base
        self.carried = frozenset(
            f"{rule}.{name}" for rule, batches in version.batches.items() for one in batches[:1] for name in one.carried.names
        )

    def has_same_file(self, entity: str) -> bool:
        """See the port."""
        return self._version.deliveries.get(entity) == self._base.deliveries.get(entity)

    async def has_same(self, entity: str, columns: Sequence[str]) -> bool:
        """See the port."""
        if self.has_same_file(entity):
            return True
        if not all(entity in one.deliveries for one in (self._version, self._base)) or not self._is_comparable(entity):
            return False
        return self._cells(self._version, entity, columns) == self._cells(self._base, entity, columns)

    async def base_made_by(self, rule: str) -> str | None:
        """See the port."""
        found = {one.made_by for one in self._base.batches.get(rule, [])}
        return found.pop() if len(found) == 1 else None

    async def changed_references(self, outbound: OutboundMessage) -> tuple[str, ...] | None:
        """See the port."""
        differing = [
            name for name, columns in outbound.reads.items() if not is_from_links(name, columns) and not self.has_same_file(name)
        ]
        if not all(map(self._is_comparable, differing)):
            return None
        rows = [one for entity in differing for one in self._of_changed_rows(entity, outbound)]
        values = [one for name in outbound.takes if f"{name}.values" not in self.carried for one in self._of_changed_values(name)]
        found = sorted({*rows, *values})
        return None if len(found) > CHANGED_AT_MOST else tuple(found)

    def _is_comparable(self, entity: str) -> bool:
        found = [one.deliveries[entity] for one in (self._version, self._base) if entity in one.deliveries]
        counts = [self._ledger.deliveries[one].persisted_count for one in found]
        return bool(all_entities()[entity].linked) and all(count <= COMPARED_AT_MOST for count in counts)

    def _of_changed_rows(self, entity: str, outbound: OutboundMessage) -> Iterator[str]:
        own, linked = f"{outbound.per}_reference", all_entities()[entity].linked
        columns = (*linked, *outbound.reads[entity])
        new, old = (self._cells(one, entity, columns) for one in (self._version, self._base))
        changed = [dict(zip(columns, cells, strict=True)) for cells in (new - old) + (old - new)]
        if own in linked:
            yield from (str(row[own]) for row in changed)
        else:
            yield from (str(link[own]) for link in self._version.links if _belongs_to_any(link, changed, linked))

    def _of_changed_values(self, transformer: str) -> set[str]:
        new, old = (
            {(row["reference"], row["fields"]) for (name, _), rows in one.values.items() if name == transformer for row in rows}
            for one in (self._version, self._base)
        )
        return {reference for reference, _ in new ^ old}

    def _cells(self, version: StoredVersion, entity: str, columns: Sequence[str]) -> Counter[tuple[str | None, ...]]:
        delivery_id = version.deliveries.get(entity)
        rows = [] if delivery_id is None else rows_of(self._ledger.deliveries[delivery_id])
        return Counter(tuple(row[name] for name in columns) for row in rows)


def _belongs_to_any(link: Row, rows: Iterable[Row], linked: Sequence[str]) -> bool:
    return any(all(link[name] == row[name] for name in linked) for row in rows)
