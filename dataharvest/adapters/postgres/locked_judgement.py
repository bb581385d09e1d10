"""A delivery under judgement in PostgreSQL: its sums and duplicates, counted set-wise under its row's lock."""

from collections.abc import Callable, Sequence
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.delivery_rows import source_of
from dataharvest.adapters.postgres.judgement_copies import Copies, CopyQueries
from dataharvest.adapters.postgres.judgement_removal import CopyRemoval, Counted
from dataharvest.adapters.postgres.judgement_slices import Slices
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects, stored_suspects, suspects_in
from dataharvest.adapters.postgres.sums import sums_query, weighing_query
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace, JudgedDelivery, SetKey
from dataharvest.entities import all_entities
from dataharvest.rules.duplicates import Copy
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.tiling import ConservationBroken, LedgerRow, Totals, totals_of
from dataharvest.sql import queries

_SQL = queries("judgement")


class LockedJudgement:
    """A delivery whose row is locked until the block ends.

    Args:
        connection: in a transaction that holds the row.
        row: of the delivery.
        hashing: of natural keys.
        slice_rows: a delivery of more rows is gone through in slices of as many.
    """

    def __init__(self, connection: Connection, row: Any, *, hashing: KeyHashing, slice_rows: int) -> None:
        self._connection = connection
        self._row = row
        self._hashing = hashing
        self._entity = all_entities()[row["entity"]]
        self._run = CopyQueries(connection, self._entity, row["delivery_id"], hashing=hashing)
        self._copies = Copies(self._run)
        self._slices = self._sliced(slice_rows) if row["persisted_count"] > slice_rows else None
        """None of a delivery that is counted at once."""
        self._suspects: Suspects = []
        self._rule: DuplicateRule | None = None
        """None as long as there are no duplicates."""
        self._counted = Counted(count=0, sums={}, blocks=(None, None))
        names = ("delivery_id", "tenant", "business_date", "entity", "contract_version")
        self.subject = JudgedDelivery(source=source_of(row), **{name: row[name] for name in names})

    def _sliced(self, slice_rows: int) -> Slices:
        return Slices(
            self._connection,
            self._entity,
            self._row["delivery_id"],
            hashing=self._hashing,
            copies=self._copies,
            slice_rows=slice_rows,
            expected=self._row["persisted_count"],
        )

    async def count_next(self) -> bool:
        """See the port."""
        return self._slices is None or await self._slices.count_next()

    async def weigh(self) -> bool:
        """See the port."""
        if self._slices is None or (found := await self._slices.merged()) is None:
            await self._weigh_at_once()
        else:
            blocks = found["first_block"], found["last_block"]
            self._counted = Counted(count=found["count"], sums=found["sums"], blocks=blocks)
            self._suspects = self._slices.suspects
        return self._suspects != []

    async def _weigh_at_once(self) -> None:
        delivery_id, count = self.subject.delivery_id, self._row["persisted_count"]
        if count > self._hashing.at_once:
            self._take_in(await self._connection.fetchrow(sums_query(self._entity), delivery_id), expected=count)
            where = (self._connection, self._entity, delivery_id)
            self._suspects = await stored_suspects(*where, hashing=self._hashing, count=count)
        else:
            query = weighing_query(self._entity, key_hash=self._hashing.of(self._entity))
            found: Any = await self._connection.fetchrow(query, delivery_id)
            self._take_in(found, expected=count)
            self._suspects = await suspects_in(found["hashes"] or b"")

    def _take_in(self, found: Any, *, expected: int) -> None:
        _require(found["count"], expected=expected)
        blocks = _block_of(found["first_place"]), _block_of(found["last_place"])
        self._counted = Counted(count=found["count"], sums=found["sums"], blocks=blocks)

    async def find_duplicates(self, rule: DuplicateRule) -> list[ChunkPlace] | None:
        """See the port."""
        self._rule = rule
        if self._slices is None or not self._slices.are_whole:
            await self._copies.find_at_once(self._suspects)
            await self._copies.judge(rule)
        elif not await self._slices.are_copies_decided():
            await self._slices.decide(rule)
            return None
        return await self._copies.to_read()

    async def keys_in(self, index: int) -> set[str]:
        """See the port."""
        return await self._copies.keys_in(index)

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """See the port."""
        assert self._rule is not None, "duplicates are found before they are settled"
        await self._copies.settle(index, copies, rule=self._rule, check=check)

    async def complete(self) -> str:
        """See the port."""
        if self._rule is not None:
            self._counted = await CopyRemoval(self._run, self.subject.tenant).apply(self._counted)
        key = SetKey(self.subject.tenant, self.subject.business_date)
        await self._connection.fetchval(_SQL["lock_set"], *key)
        if self._rule is None:
            # Nothing has changed since the judgement was begun with these.
            totals = Totals(*(self._row[name] for name in Totals._fields))
        else:
            totals = await self._ledger_totals()
            _require(self._counted.count, expected=totals.persisted_count)
        if self._rule is not None or self._slices is not None:
            await self._connection.execute(_SQL["forget"], self.subject.delivery_id)
        found = self._counted.sums, *self._counted.blocks
        state: str = await self._connection.fetchval(_SQL["complete"], self.subject.delivery_id, *totals, *found)
        return state

    async def _ledger_totals(self) -> Totals:
        ledger = [LedgerRow(*one) for one in await self._connection.fetch(_SQL["ledger"], self.subject.delivery_id)]
        return totals_of(ledger, start=self._row["content_start"], end=self._row["content_end"])


def _require(count: int, *, expected: int) -> None:
    if count != expected:
        raise ConservationBroken(f"{count} rows are there, {expected} in the ledger")


def _block_of(place: tuple[int, int] | None) -> int | None:
    return None if place is None else place[0]
