"""A large delivery gone through slice by slice, each some blocks of its table: together as good as one pass over its rows."""

import asyncio
import logging
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.judgement_copies import Copies
from dataharvest.adapters.postgres.judgement_decision import Counted
from dataharvest.adapters.postgres.judgement_suspects import PART_COUNT, SlicedSuspects
from dataharvest.adapters.postgres.key_hashes import KeyHashing
from dataharvest.adapters.postgres.sums import slice_query
from dataharvest.entities import Entity
from dataharvest.rules.key_hashes import Hashes, cuts, hashes_in, stored, thinned
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("judgement_slices") | {"forget": queries("judgement")["forget"]}
_LAYOUT = "(pg_relation_filenode('{table}') || ' since ' || pg_postmaster_start_time())"
ROWS_PER_SLICE = 1_000_000
_ROWS_PER_BLOCK = 100
"""About; in a block of 8 KiB, rows of 80 bytes."""
_RANGES_AT_ONCE = 8
"""Ranges of blocks that are gone through together as long as hardly anything of the delivery is in them."""


class Slices:
    """The slices of one delivery, in a transaction that holds the delivery's row.

    While a delivery is judged nobody adds a row to it or removes one. What may move them, VACUUM FULL for example, gives the
    table another file: then the slices are forgotten, and begin anew.
    """

    def __init__(
        self,
        connection: Connection,
        entity: Entity,
        delivery_id: int,
        *,
        hashing: KeyHashing,
        copies: Copies,
        slice_rows: int,
        expected: int,
    ) -> None:
        self._connection = connection
        self._entity = entity
        self._delivery_id = delivery_id
        self._hash: str | None = hashing.of(entity)
        """None where keys don't matter."""
        self._slice_rows = slice_rows
        self._expected = expected
        self._suspects = SlicedSuspects(connection, delivery_id, hashing=hashing)
        self._copies = copies
        self.are_whole = False
        """Whether they went through all rows, each where it was; known after ``count_next``."""

    async def count_next(self) -> bool:
        """Count what comes after the last slice, or look for copies in one; whether all is done that takes no rule."""
        # Copies that were found before a crash of the server are still there, slices are not: all begins anew.
        if not await self._count_on(self._expected, last_block=-1, forget="forget"):
            return False
        return not self.are_whole or await self._suspects.look_on() and await self._search_next()

    async def recount_next(self, left: Counted) -> bool:
        """Count some more of what is ``left`` of the rows, once copies were removed; whether all are counted."""
        self._hash = None
        _, last_block = left.blocks
        # A row too many may lie behind as many as there ought to be: as far as there were any all are counted.
        return await self._count_on(left.count, last_block=-1 if last_block is None else last_block, forget="forget_slices")

    async def _count_on(self, expected: int, *, last_block: int, forget: str) -> bool:
        """Count what comes after the last slice; True, at once, when nothing does."""
        await self._connection.execute(self._query("lock_table"))
        progress = await self._progress(forget)
        start = progress["stop_block"]
        if start is None:
            start = await self._first_block()
        missing = expected - progress["record_count"]
        if (missing <= 0 and start > last_block) or start >= progress["block_count"]:
            self.are_whole = missing == 0
            return True
        await self._connection.execute(self._query("by_index"))
        await self._connection.execute(self._query("by_place"))
        await self._count_from(start, end=progress["block_count"], enough=min(max(1, missing), self._slice_rows // 2))
        return False

    async def merged(self) -> Any | None:
        """Count, sums and blocks of all rows; None unless the slices are whole."""
        if not self.are_whole:
            logger.warning("not every row was found in slices, counted as a whole", extra={"delivery_id": self._delivery_id})
            return None
        return await self._connection.fetchrow(_SQL["merged"], self._delivery_id)

    async def are_copies_whole(self) -> bool:
        """Whether all copies that were found are kept; if not, all is forgotten and begins anew."""
        count = await self._connection.fetchval(_SQL["copy_count"], self._delivery_id)
        if await self._copies.are_whole(count):
            return True
        logger.warning("copies got lost between slices, counted anew", extra={"delivery_id": self._delivery_id})
        # Workers with slices of other sizes may take turns at it, each finding all copies anew: together they come to an end.
        await self._connection.execute(_SQL["forget"], self._delivery_id)
        return False

    async def _search_next(self) -> bool:
        """Look for copies in the next slices with suspects; whether all were searched."""
        slices = await self._connection.fetch(_SQL["next_to_search"], self._delivery_id, _RANGES_AT_ONCE)
        if not slices:
            return True
        await self._connection.execute(_SQL["by_index"])
        await self._connection.execute(_SQL["by_place"])
        searched = found = 0
        for one in slices:
            found += await self._search(one)
            searched += one["record_count"]
            if searched >= self._slice_rows // 2 or found >= self._slice_rows // 20:
                break
        return False

    async def _search(self, one: Any) -> int:
        """Look for copies in a slice, where they are many in a twentieth of one; how many there are."""
        start, stop = one["next_block"], one["stop_block"]
        if one["suspect_count"] > self._slice_rows // 20:
            stop = min(stop, start + max(1, self._slice_rows // 20 // _ROWS_PER_BLOCK))
        # Where most rows are suspected it costs less to keep the others as well, which are passed over later.
        is_mostly_suspects = 2 * one["suspect_count"] > one["record_count"]
        suspects = None if is_mostly_suspects else await self._suspects.named_in(one["first_block"])
        count = await self._copies.find_in(suspects, start, stop)
        await self._connection.execute(_SQL["note_searched"], self._delivery_id, one["first_block"], stop, count)
        return count

    async def _progress(self, forget: str) -> Any:
        progress: Any = await self._connection.fetchrow(self._query("progress"), self._delivery_id)
        if progress["is_as_it_was"] and progress["stop_block"] is not None:
            return progress
        if not progress["is_as_it_was"]:
            logger.warning("rows may have moved between slices, counted anew", extra={"delivery_id": self._delivery_id})
        await self._connection.execute(_SQL[forget], self._delivery_id)
        return await self._connection.fetchrow(self._query("progress"), self._delivery_id)

    async def _first_block(self) -> int:
        await self._connection.execute(self._query("by_index"))
        place = await self._connection.fetchval(self._query("first_place"), self._delivery_id)
        return 0 if place is None else int(place[0])

    async def _count_from(self, start: int, *, end: int, enough: int) -> None:
        block_count, found = max(1, self._slice_rows // _ROWS_PER_BLOCK), 0
        for _ in range(_RANGES_AT_ONCE):
            counted = await self._count(start, start + block_count)
            found, start = found + counted, start + block_count
            if start >= end or found >= enough:
                return
            if not counted:
                await self._count_behind_hole(start, end=end, block_count=block_count)
                return

    async def _count_behind_hole(self, start: int, *, end: int, block_count: int) -> None:
        """Other deliveries lie between, perhaps most of the table: no step after this one goes through them.

        To find the next row, those before ``start`` are passed, once.
        """
        await self._connection.execute(self._query("by_index"))
        place = await self._connection.fetchval(self._query("next_place"), self._delivery_id, (start, 0))
        await self._connection.execute(self._query("by_place"))
        first = end if place is None else int(place[0])
        await self._count(first, first + block_count)

    async def _count(self, start: int, stop: int) -> int:
        query = slice_query(self._entity, key_hash=self._hash)
        row: Any = await self._connection.fetchrow(query, self._delivery_id, (start, 0), (stop, 0))
        places = row["first_place"], row["last_place"]
        blocks = [None if place is None else place[0] for place in places]
        count, sums, hashes = row["count"], row["sums"], hashes_in(row.get("hashes") or b"")
        # A slice has 8 MB of them: none of it need be there twice while they are sorted and sent back.
        del row
        counted = count, sums, *blocks, *await asyncio.to_thread(_cut, hashes)
        await self._connection.execute(self._query("keep"), self._delivery_id, start, stop, *counted)
        return int(count)

    def _query(self, name: str) -> str:
        return _SQL[name].replace("{layout}", _LAYOUT).replace("{table}", self._entity.table)


def _cut(everything: Hashes) -> tuple[memoryview, list[int], int]:
    """Hashes as they are stored, where they are cut, and how many equal ones were left out."""
    hashes = thinned(everything)
    places = cuts(hashes, part_count=PART_COUNT)
    return stored(hashes), places, len(everything) - len(hashes)
