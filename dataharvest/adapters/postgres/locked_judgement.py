"""A delivery under judgement in PostgreSQL: its sums and duplicates, counted set-wise under its row's lock."""

from collections.abc import Callable, Sequence
from typing import Any

from dataharvest.adapters.postgres.chunks import copy_quarantined, copy_rows
from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.delivery_rows import source_of
from dataharvest.adapters.postgres.judgement_slices import Slices
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects, stored_suspects, suspects_in
from dataharvest.adapters.postgres.sums import sums_query, weighing_query
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace, JudgedDelivery, SetKey
from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.duplicates import LISTED_COPIES, LISTED_KEYS, Copy, further_copies, quarantined_copy
from dataharvest.rules.records import CheckedChunk, QuarantinedRecord
from dataharvest.rules.tiling import ConservationBroken, LedgerRow, Totals, totals_of
from dataharvest.sql import queries

_SQL = queries("judgement")


class LockedJudgement:
    """A delivery whose row is locked until the block ends."""

    def __init__(self, connection: Connection, row: Any, *, hashing: KeyHashing, slices: Slices | None = None) -> None:
        self._connection = connection
        self._row = row
        self._hashing = hashing
        self._slices = slices
        """None of a delivery that is counted at once."""
        self._entity = all_entities()[row["entity"]]
        self._suspects: Suspects = []
        self._rule: DuplicateRule | None = None
        """None as long as there are no duplicates."""
        self._sums: dict[str, str] = {}
        self._blocks: tuple[int | None, int | None] = (None, None)
        """The first and the last block of the table that hold rows of the delivery."""
        self._listed: dict[str, int] = {}
        """Records of each key that is named by line."""
        self._copies: dict[int, list[Copy]] = {}
        """The first copies of the listed keys, by chunk: never more than are named, however many a file has."""
        self._lines: dict[str, list[int]] = {}
        names = ("delivery_id", "tenant", "business_date", "entity", "contract_version")
        self.subject = JudgedDelivery(source=source_of(row), **{name: row[name] for name in names})

    async def count_next(self) -> bool:
        """See the port."""
        return self._slices is None or await self._slices.count_next()

    async def weigh(self) -> bool:
        """See the port."""
        if self._slices is None or not await self._merge(self._slices):
            await self._weigh_at_once()
        return self._suspects != []

    async def _merge(self, slices: Slices) -> bool:
        if (found := await slices.merged()) is None:
            return False
        self._sums, self._blocks = found["sums"], (found["first_block"], found["last_block"])
        self._suspects = await slices.suspects()
        return True

    async def _weigh_at_once(self) -> None:
        delivery_id, count = self.subject.delivery_id, self._row["persisted_count"]
        if count > self._hashing.at_once:
            await self._count(expected=count)
            where = (self._connection, self._entity, delivery_id)
            self._suspects = await stored_suspects(*where, hashing=self._hashing, count=count)
        else:
            query = weighing_query(self._entity, key_hash=self._hashing.of(self._entity))
            found: Any = await self._connection.fetchrow(query, delivery_id)
            self._take_in(found, expected=count)
            self._suspects = await suspects_in(found["hashes"] or b"")

    async def find_duplicates(self, rule: DuplicateRule) -> list[ChunkPlace]:
        """See the port."""
        self._rule = rule
        await self._execute("room")
        await self._execute("make_duplicates")
        await self._execute("no_nested_loops")
        await self._execute("fill_duplicates", self.subject.delivery_id, self._suspects)
        await self._execute("any_joins")
        await self._execute("analyze_duplicates")
        if await self._fetchval("any_unknown_chunk"):
            message = "The database was restored while the file was being read: it must be uploaded again."
            raise Rejected(message, rule="rows_without_chunk")
        await self._execute("list_keys", LISTED_KEYS)
        self._listed = {row["natural_key"]: row["record_count"] for row in await self._fetch("listed_keys")}
        self._lines = {key: [] for key in self._listed}
        if rule != "reject":
            await self._execute(rule)
        rows = await self._fetch("chunks_to_read", self.subject.delivery_id, LISTED_COPIES)
        return [ChunkPlace(*row) for row in rows]

    async def keys_in(self, index: int) -> set[str]:
        """See the port."""
        return {row["natural_key"] for row in await self._fetch("keys_in_chunk", index, LISTED_COPIES)}

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """See the port."""
        self._copies[index] = [one.remembered() for one in copies if self._is_named(one)]
        if self._rule == "reject":
            return
        ambiguous = {row["natural_key"] for row in await self._fetch("ambiguous_in_chunk", index)}
        # Of a dictionary's values for one key the last one stays.
        in_turn = copies if self._rule == "last_wins" else list(reversed(copies))
        winners = {one.natural_key: one for one in in_turn if one.natural_key in ambiguous}
        await self._execute("settle", index, list(winners))
        rows = check(b"".join(one.raw + b"\n" for one in winners.values()))
        await copy_rows(self._connection, self.subject.entity, self.subject.delivery_id, rows)

    def _is_named(self, copy: Copy) -> bool:
        lines = self._lines.get(copy.natural_key)
        if lines is None or len(lines) >= LISTED_COPIES:
            return False
        lines.append(copy.line)
        return True

    async def complete(self) -> str:
        """See the port."""
        if self._rule is not None:
            await self._apply()
        await self._connection.fetchval(_SQL["lock_set"], *SetKey(self.subject.tenant, self.subject.business_date))
        if self._rule is None:
            # Nothing has changed since the judgement was begun with these.
            totals = Totals(*(self._row[name] for name in Totals._fields))
        else:
            totals = await self._ledger_totals()
            await self._count(expected=totals.persisted_count)
        state: str = await self._fetchval("complete", self.subject.delivery_id, *totals, self._sums, *self._blocks)
        return state

    async def _apply(self) -> None:
        await self._execute("quarantine_unsettled")
        await self._quarantine()
        for key, count in self._listed.items():
            await self._execute("add_key", self.subject.delivery_id, self.subject.tenant, key, count, self._lines[key])
        await self._execute("delete_rows", self.subject.delivery_id)
        await self._execute("count_in_chunks", self.subject.delivery_id)

    async def _quarantine(self) -> None:
        keys = {row["natural_key"] for row in await self._fetch("quarantined_keys")}
        for row in await self._fetch("quarantined_in_chunks", self.subject.delivery_id):
            named = [one for one in self._copies.get(row["chunk_index"], ()) if one.natural_key in keys]
            # The rows are what counts: whatever was read again, no more are quarantined than were stored.
            entries = [self._entry(one) for one in named[: row["record_count"]]]
            if (further := row["record_count"] - len(entries)) > 0:
                place = {name: row[name] for name in ("first_line", "byte_offset", "byte_length")}
                entries.append(further_copies(further, column=self._entity.natural_key, **place))
            where = (self.subject.delivery_id, row["chunk_index"], self.subject.tenant)
            await copy_quarantined(self._connection, *where, entries)

    def _entry(self, copy: Copy) -> QuarantinedRecord:
        count, lines = self._listed[copy.natural_key], self._lines[copy.natural_key]
        return quarantined_copy(copy, column=self._entity.natural_key, record_count=count, lines=lines)

    async def _count(self, *, expected: int) -> None:
        self._take_in(await self._connection.fetchrow(sums_query(self._entity), self.subject.delivery_id), expected=expected)

    def _take_in(self, found: Any, *, expected: int) -> None:
        if found["count"] != expected:
            raise ConservationBroken(f"{found['count']} rows are there, {expected} in the ledger")
        self._sums = found["sums"]
        self._blocks = _block_of(found["first_place"]), _block_of(found["last_place"])

    async def _ledger_totals(self) -> Totals:
        ledger = [LedgerRow(*one) for one in await self._fetch("ledger", self.subject.delivery_id)]
        return totals_of(ledger, start=self._row["content_start"], end=self._row["content_end"])

    async def _execute(self, name: str, *arguments: Any) -> None:
        await self._connection.execute(self._query(name), *arguments)

    async def _fetch(self, name: str, *arguments: Any) -> Any:
        return await self._connection.fetch(self._query(name), *arguments)

    async def _fetchval(self, name: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(self._query(name), *arguments)

    def _query(self, name: str) -> str:
        query = _SQL[name].replace("{hash}", self._hashing.of(self._entity))
        return query.replace("{table}", self._entity.table).replace("{key}", self._entity.natural_key)


def _block_of(place: tuple[int, int] | None) -> int | None:
    return None if place is None else place[0]
