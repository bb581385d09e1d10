"""A delivery under judgement in PostgreSQL: its sums and duplicates, counted set-wise under its row's lock."""

from collections.abc import Callable, Sequence
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.delivery_rows import source_of
from dataharvest.adapters.postgres.judgement_copies import Copies, CopyQueries
from dataharvest.adapters.postgres.judgement_decision import Counted, Decision
from dataharvest.adapters.postgres.judgement_recount import Recount
from dataharvest.adapters.postgres.judgement_removal import CopyRemoval
from dataharvest.adapters.postgres.judgement_slices import Slices
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects, stored_suspects, suspects_in
from dataharvest.adapters.postgres.sums import sums_query, weighing_query
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace, JudgedDelivery
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
        is_set_locked: whether the transaction holds the set as well.
    """

    def __init__(
        self, connection: Connection, row: Any, *, hashing: KeyHashing, slice_rows: int, is_set_locked: bool = False
    ) -> None:
        self._is_set_locked = is_set_locked
        self._connection = connection
        self._row = row
        self._hashing = hashing
        self._entity = all_entities()[row["entity"]]
        self._run = CopyQueries(connection, self._entity, row["delivery_id"], hashing=hashing)
        self._copies = Copies(self._run)
        self._slices = self._sliced(slice_rows)
        self._is_sliced = row["persisted_count"] > slice_rows or row["judged_in_steps"]
        """Unless it is counted at once."""
        self._most_copies = slice_rows // 40
        """That are found in the step that counts: it may remove them as well."""
        self._removal = CopyRemoval(self._run, row["tenant"], at_once=slice_rows // 20)
        self._recount = Recount(self._run, self._slices, is_sliced=row["persisted_count"] > slice_rows)
        self._suspects: Suspects = []
        """Of a delivery that is counted at once."""
        self._decision: Decision | None = None
        """None as long as it is not known what becomes of its copies, or there are none."""
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
        if not self._is_sliced:
            return True
        self._decision = await self._copies.decision()
        return self._decision is not None or await self._slices.count_next()

    async def weigh(self) -> bool:
        """See the port."""
        if self._decision is not None:
            self._counted = self._decision.left
            return True
        if self._is_sliced and (found := await self._slices.merged()) is not None:
            self._counted = Counted.in_slices(found)
            return bool(found["suspect_count"])
        await self._weigh_at_once()
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
            self._suspects = await suspects_in(found["hashes"] or b"", most=self._most_copies)

    def _take_in(self, found: Any, *, expected: int) -> None:
        _require(found["count"], expected=expected)
        self._counted = Counted.at_once(found)

    async def find_duplicates(self, rule: DuplicateRule, *, at_most: int | None = None) -> list[ChunkPlace] | None:
        """See the port."""
        if self._decision is not None and not self._decision.are_readings_known:
            await self._copies.add_readings()
            return None
        if self._decision is not None:
            # Once the removal has begun nothing is found out any more, whatever could not be.
            return [] if self._decision.next_chunk is not None else await self._copies.to_read(at_most)
        if self._is_sliced and self._slices.are_whole:
            if await self._slices.are_copies_whole():
                await self._decide(rule)
            return None
        if not self._is_sliced and self._has_many_copies:
            await self._connection.execute(_SQL["judged_in_steps"], self.subject.delivery_id)
            await self._slices.count_next()
            return None
        await self._copies.find_at_once(self._suspects)
        await self._decide(rule)
        await self._copies.add_readings()
        return await self._copies.to_read(at_most)

    @property
    def _has_many_copies(self) -> bool:
        # How many rows have the hashes that were found is not known where these were too many for one value.
        return self._suspects is None or self._row["persisted_count"] > self._hashing.at_once

    async def _decide(self, rule: DuplicateRule) -> None:
        await self._connection.execute(_SQL["judged_in_steps"], self.subject.delivery_id)
        self._decision = await self._copies.decide(rule, self._counted)

    async def keys_in(self, index: int) -> set[str]:
        """See the port."""
        return await self._copies.keys_in(index)

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """See the port."""
        assert self._decision is not None, "duplicates are found before they are settled"
        await self._copies.settle(index, copies, check=check)

    async def remove_next(self) -> bool:
        """See the port."""
        assert self._decision is not None, "duplicates are found before they are removed"
        if not self._decision.are_copies_settled:
            self._decision, is_done = await self._removal.remove_next(self._decision)
            if not is_done:
                return False
        found = await self._recount.count_next(self._decision.left)
        if found is None:
            return False
        self._counted = found
        return True

    async def complete(self) -> str:
        """See the port."""
        if self._decision is not None:
            await self._removal.conclude(self._decision)
        if not self._is_set_locked:
            # Others, as who rejects a delivery, ask for the set first. Here it would then be locked as long as a step takes; so
            # where two wait for each other, which is rare, PostgreSQL ends one of them, and that one comes again.
            await self._connection.fetchval(_SQL["lock_set"], self.subject.tenant, self.subject.business_date)
        if self._decision is None:
            # Nothing has changed since the judgement was begun with these.
            totals = Totals(*(self._row[name] for name in Totals._fields))
        else:
            totals = await self._ledger_totals()
            _require(self._counted.count, expected=totals.persisted_count)
        if self._decision is not None or self._is_sliced:
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
