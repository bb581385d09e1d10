"""A delivery under repair in memory: the fake of the port, under the same contract as PostgreSQL."""

from collections import Counter
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime

from dataharvest.adapters.memory_ledger import MemoryLedger, StoredDelivery, StoredEntry
from dataharvest.adapters.memory_locked_judgement import require_conservation, sums_of
from dataharvest.adapters.memory_sets import MemoryLockedSet
from dataharvest.entities import all_entities
from dataharvest.quarantine import Entry, HistoryLine, Signature
from dataharvest.repairs import Changes, EntryChange, Repairable, deltas_of
from dataharvest.rules.duplicates import natural_keys
from dataharvest.rules.repairs import Place


class MemoryLockedRepair:
    """A draft of a delivery that counts when it is kept."""

    def __init__(
        self,
        ledger: MemoryLedger,
        row: StoredDelivery,
        subject: Repairable,
        locked_set: MemoryLockedSet,
        entries_of: Callable[[StoredDelivery], list[Entry]],
    ) -> None:
        self.subject = subject
        self._ledger = ledger
        self._row = row
        self._draft = copy(row)
        self._set = locked_set
        self._entries_of = entries_of
        self._entity = all_entities()[subject.delivery.entity]
        self._history: list[HistoryLine] = []

    async def entries(self, ids: Collection[int]) -> dict[int, Entry]:
        """See the port."""
        return {one.quarantine_id: one for one in self._entries_of(self._row) if one.quarantine_id in ids}

    async def repaired_places(self, keys: Collection[str]) -> dict[str, Place]:
        """See the port."""
        settled = self._row.settled.items()
        return {one.natural_key: Place(*place) for place, one in settled if one.natural_key and one.natural_key in keys}

    async def stored_keys(self, keys: Collection[str]) -> set[str]:
        """See the port."""
        stored = {
            key for _, checked in self._row.chunks.values() if checked.copy_text for key in natural_keys(checked, self._entity)
        }
        return stored & set(keys)

    async def apply(self, changes: Changes, *, by: Signature) -> int:
        """See the port."""
        edition = await self._set.raise_edition()
        draft = self._draft
        draft.chunks, draft.settled = dict(draft.chunks), dict(draft.settled)
        self._remove_rows(changes)
        for index, row in changes.rows:
            self._add_row(index, row, changes.copy_columns)
        for one in changes.entries:
            self._settle(one, changes, by)
        self._count(changes)
        require_conservation(draft)
        draft.sums = sums_of(draft)
        return edition

    def keep(self) -> None:
        """Let the draft count."""
        for name in ("chunks", "settled", "duplicates", "accepted", "sums"):
            setattr(self._row, name, getattr(self._draft, name))
        self._ledger.repairs += self._history

    def _remove_rows(self, changes: Changes) -> None:
        for index, (metadata, checked) in self._draft.chunks.items():
            if not checked.copy_text:
                continue
            rows = zip(natural_keys(checked, self._entity), checked.copy_text.splitlines(keepends=True), strict=True)
            kept = b"".join(row for key, row in rows if key not in changes.replaced)
            self._draft.chunks[index] = metadata, replace(checked, copy_text=kept)
        for place, one in self._draft.settled.items():
            if one.natural_key in changes.replaced:
                self._draft.settled[place] = replace(one, natural_key=None)

    def _add_row(self, index: int, row: bytes, columns: tuple[str, ...]) -> None:
        metadata, checked = self._draft.chunks[index]
        assert not checked.copy_text or checked.copy_columns == columns, "columns under one header"
        added = replace(checked, copy_columns=columns, copy_text=checked.copy_text + row)
        self._draft.chunks[index] = metadata, added

    def _settle(self, one: EntryChange, changes: Changes, by: Signature) -> None:
        entry, index = one.entry, one.entry.chunk_index
        metadata, checked = self._draft.chunks[index]
        [record] = [record for record in checked.quarantined if record.position == entry.position]
        left = tuple(other for other in checked.quarantined if other is not record)
        self._draft.chunks[index] = metadata, replace(checked, quarantined=left)
        self._draft.settled[index, entry.position] = StoredEntry(record, one.state, one.natural_key)
        self._history.append(
            HistoryLine(
                at=datetime.now(UTC),
                quarantine_id=entry.quarantine_id,
                delivery_id=entry.delivery_id,
                tenant=entry.tenant,
                business_date=entry.business_date,
                entity=entry.entity,
                line=entry.line,
                rule=entry.rule,
                action=changes.action,
                who=by.who,
                why=by.why,
                persisted_count=one.persisted_count,
                duplicate_count=one.duplicate_count,
                accepted_count=one.accepted_count,
                original=entry.raw,
                content=one.content,
                contract_version=changes.contract_version,
                superseded_by=None,
            )
        )

    def _count(self, changes: Changes) -> None:
        duplicates, accepted = Counter(self._draft.duplicates), Counter(self._draft.accepted)
        for index, delta in deltas_of(changes).items():
            metadata, checked = self._draft.chunks[index]
            counted = replace(
                checked,
                record_count=checked.record_count + sum(delta),
                persisted_count=checked.persisted_count + delta.persisted,
            )
            self._draft.chunks[index] = metadata, counted
            duplicates[index] += delta.duplicate
            accepted[index] += delta.accepted
            stored = len(counted.copy_text.splitlines())
            assert stored == counted.persisted_count, f"{stored} rows are there, {counted.persisted_count} in the ledger"
        self._draft.duplicates, self._draft.accepted = dict(duplicates), dict(accepted)
