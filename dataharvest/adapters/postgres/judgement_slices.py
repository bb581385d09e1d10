"""A large delivery counted slice by slice, each some blocks of its table: together they are as good as one pass over its rows."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects, named
from dataharvest.adapters.postgres.sums import slice_query
from dataharvest.entities import Entity
from dataharvest.rules.key_hashes import MAX_SUSPECTS, cuts, hashes_in, part_groups, repeated, stored, stored_hashes
from dataharvest.sql import queries

logger = logging.getLogger(__name__)

_SQL = queries("judgement_slices")
_LAYOUT = "(pg_relation_filenode('{table}') || ' since ' || pg_postmaster_start_time())"
ROWS_PER_SLICE = 1_000_000
_ROWS_PER_BLOCK = 100
"""About; in a block of 8 KiB, rows of 80 bytes."""
_RANGES_AT_ONCE = 8
"""Ranges of blocks that are gone through together as long as hardly anything of the delivery is in them."""
_PART_COUNT = 256
"""Into which the hashes of every slice are cut. Change it only together with the table: slices cut otherwise can't be merged."""
_GROUPS_AT_ONCE = 4
"""Groups of parts, each as many hashes as are held in memory, that one step looks at: some 16 million."""


class _Merged(NamedTuple):
    """How far the hashes of all slices were looked at together."""

    groups_left: list[tuple[int, int]] | None
    """None when one part alone is too much."""
    suspects: list[int]


class Slices:
    """The slices of one delivery, in a transaction that holds the delivery's row.

    While a delivery is judged nobody adds a row to it or removes one. What may move them, VACUUM FULL for example, gives the
    table another file: then the slices are forgotten, and begin anew.
    """

    def __init__(
        self, connection: Connection, entity: Entity, delivery_id: int, *, hashing: KeyHashing, slice_rows: int, expected: int
    ) -> None:
        self._connection = connection
        self._entity = entity
        self._delivery_id = delivery_id
        self._hashing = hashing
        self._slice_rows = slice_rows
        self._expected = expected
        self._are_whole = False

    async def count_next(self) -> bool:
        """Count what comes after the last slice; whether there is nothing any more to be done before the verdict."""
        await self._connection.execute(self._query("lock_table"))
        progress = await self._progress()
        start = progress["stop_block"] if progress["stop_block"] is not None else await self._first_block()
        if progress["record_count"] >= self._expected or start >= progress["block_count"]:
            self._are_whole = progress["record_count"] == self._expected
            return not self._are_whole or await self._merge_next()
        await self._connection.execute(self._query("by_index"))
        await self._connection.execute(self._query("by_place"))
        missing = self._expected - progress["record_count"]
        await self._count_from(start, end=progress["block_count"], enough=min(missing, self._slice_rows // 2))
        return False

    async def merged(self) -> Any | None:
        """Count, sums and blocks of all rows; None unless the slices went through them all, each where it was.

        Asked after ``count_next``, in the same transaction.
        """
        if not self._are_whole:
            logger.warning("not every row was found in slices, counted as a whole", extra={"delivery_id": self._delivery_id})
            return None
        return await self._connection.fetchrow(_SQL["merged"], self._delivery_id)

    async def suspects(self) -> Suspects:
        """Hashes that occur more than once, in whatever slices."""
        merged = await self._merged_parts()
        return None if merged.groups_left is None else named(await self._merge(merged, merged.groups_left))

    async def _merge_next(self) -> bool:
        """Look at some more of very many hashes; whether so few are left that they are looked at with the verdict."""
        merged = await self._merged_parts()
        if merged.groups_left is None or len(merged.groups_left) <= _GROUPS_AT_ONCE:
            return True
        groups = merged.groups_left[:_GROUPS_AT_ONCE]
        found = await self._merge(merged, groups)
        # One more than can be named says that they are too many.
        kept = found[: MAX_SUSPECTS + 1]
        await self._connection.execute(_SQL["keep_suspects"], self._delivery_id, groups[-1][1], kept)
        return False

    async def _merged_parts(self) -> _Merged:
        rows = await self._connection.fetch(_SQL["cuts"], self._delivery_id)
        counts = np.diff(np.array([row["cuts"] for row in rows], dtype=np.int64)).sum(axis=0)
        done: int = rows[0]["merged_part_count"]
        groups = part_groups(counts[done:].tolist(), most=self._hashing.at_once)
        # Hashes spread evenly: more than may be held, in one part, are copies of a few.
        left = None if groups is None else [(start + done, stop + done) for start, stop in groups]
        return _Merged(left, rows[0]["suspects"])

    async def _merge(self, merged: _Merged, groups: Sequence[tuple[int, int]]) -> list[int]:
        found = list(merged.suspects)
        for start, stop in groups:
            if len(found) > MAX_SUSPECTS:
                break
            rows = await self._connection.fetch(_SQL["hashes"], self._delivery_id, start, stop)
            found += await asyncio.to_thread(_repeated_in, [row[0] for row in rows])
        return found

    async def _progress(self) -> Any:
        progress: Any = await self._connection.fetchrow(self._query("progress"), self._delivery_id)
        if progress["is_as_it_was"]:
            return progress
        logger.warning("rows may have moved between slices, counted anew", extra={"delivery_id": self._delivery_id})
        await self._connection.execute(_SQL["forget"], self._delivery_id)
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
        query = slice_query(self._entity, key_hash=self._hashing.of(self._entity))
        row: Any = await self._connection.fetchrow(query, self._delivery_id, (start, 0), (stop, 0))
        places = row["first_place"], row["last_place"]
        blocks = [None if place is None else place[0] for place in places]
        hashes = await asyncio.to_thread(_cut, row["hashes"] or b"")
        counted = row["count"], row["sums"], *blocks, *hashes
        await self._connection.execute(self._query("keep"), self._delivery_id, start, stop, *counted)
        return int(row["count"])

    def _query(self, name: str) -> str:
        return _SQL[name].replace("{layout}", _LAYOUT).replace("{table}", self._entity.table)


def _cut(aggregate: bytes) -> tuple[bytes, list[int]]:
    hashes = hashes_in(aggregate)
    places = cuts(hashes, part_count=_PART_COUNT)
    return stored(hashes), places


def _repeated_in(pieces: list[bytes]) -> list[int]:
    found: list[int] = repeated(stored_hashes(pieces)).tolist()
    return found
