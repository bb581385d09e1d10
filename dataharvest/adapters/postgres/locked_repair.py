"""A delivery under repair in PostgreSQL: entries, rows, ledger and set move together, under the locks of set and delivery."""

from collections.abc import Collection
from typing import Any

from dataharvest.adapters.postgres.chunks import copy_rows
from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.quarantine_rows import read_entries
from dataharvest.adapters.postgres.sets import raise_edition
from dataharvest.adapters.postgres.sums import sums_query
from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.quarantine import Entry, Selection, Signature
from dataharvest.repairs import Changes, EntryChange, Repairable, deltas_of
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.repairs import Place
from dataharvest.rules.tiling import ConservationBroken, LedgerRow, totals_of
from dataharvest.sql import queries

_SQL = queries("quarantine")


class LockedRepair:
    """A delivery whose row and whose set's row are locked until the block ends."""

    def __init__(self, connection: Connection, subject: Repairable) -> None:
        self._connection = connection
        self.subject = subject
        self._delivery_id = subject.delivery.delivery_id
        self._entity = all_entities()[subject.delivery.entity]

    async def entries(self, ids: Collection[int]) -> dict[int, Entry]:
        """See the port."""
        rows = await self._fetch("lock_entries", self._delivery_id, list(ids))
        selection = Selection(ids=tuple(row["quarantine_id"] for row in rows), with_superseded=True)
        return {one.quarantine_id: one for one in await read_entries(self._connection, selection)}

    async def repaired_places(self, keys: Collection[str]) -> dict[str, Place]:
        """See the port."""
        rows = await self._fetch("repaired_places", self._delivery_id, list(keys))
        return {row["natural_key"]: Place(row["chunk_index"], row["position"]) for row in rows}

    async def stored_keys(self, keys: Collection[str]) -> set[str]:
        """See the port."""
        return {row["natural_key"] for row in await self._fetch("stored_keys", self._delivery_id, list(keys))}

    async def apply(self, changes: Changes, *, by: Signature) -> int:
        """See the port."""
        subject = self.subject.delivery
        # First, for it waits until no batch of the set is being computed from these rows.
        edition = await raise_edition(self._connection, SetKey(subject.tenant, subject.business_date))
        if changes.replaced:
            await self._execute("delete_rows", self._delivery_id, list(changes.replaced))
            await self._execute("replaced", self._delivery_id, list(changes.replaced))
        await self._add_rows(changes)
        await self._settle(changes, by)
        deltas = [(index, *delta) for index, delta in deltas_of(changes).items()]
        await self._execute("count_in_chunks", self._delivery_id, *map(list, zip(*deltas, strict=True)))
        await self._recount()
        return edition

    async def _add_rows(self, changes: Changes) -> None:
        rows = CheckedChunk(
            copy_columns=changes.copy_columns,
            copy_text=b"".join(row for _, row in changes.rows),
            record_count=len(changes.rows),
            persisted_count=len(changes.rows),
            quarantined=(),
        )
        await copy_rows(self._connection, self._entity.name, self._delivery_id, rows)

    async def _settle(self, changes: Changes, by: Signature) -> None:
        states = [(one.entry.quarantine_id, one.state, one.natural_key) for one in changes.entries]
        await self._connection.executemany(_SQL["settle"], states)
        await self._connection.executemany(_SQL["note"], [_note(one, changes, by) for one in changes.entries])

    async def _recount(self) -> None:
        """Count everything again: what does not add up must not be kept."""
        row: Any = await self._connection.fetchrow(_SQL["delivery"], self._delivery_id)
        ledger = [LedgerRow(*one) for one in await self._fetch("ledger", self._delivery_id)]
        totals = totals_of(ledger, start=row["content_start"], end=row["content_end"])
        found: Any = await self._connection.fetchrow(sums_query(self._entity), self._delivery_id)
        if found["count"] != totals.persisted_count:
            raise ConservationBroken(f"{found['count']} rows are there, {totals.persisted_count} in the ledger")
        await self._execute("recount", self._delivery_id, *totals, found["sums"])

    async def _execute(self, name: str, *arguments: Any) -> None:
        await self._connection.execute(self._query(name), *arguments)

    async def _fetch(self, name: str, *arguments: Any) -> Any:
        return await self._connection.fetch(self._query(name), *arguments)

    def _query(self, name: str) -> str:
        return _SQL[name].replace("{table}", self._entity.table).replace("{key}", self._entity.natural_key)


def _note(one: EntryChange, changes: Changes, by: Signature) -> tuple[Any, ...]:
    about = (one.entry.quarantine_id, one.entry.tenant, changes.action, by.who, by.why)
    counts = (one.persisted_count, one.duplicate_count, one.accepted_count)
    return (*about, *counts, one.content, changes.contract_version)
