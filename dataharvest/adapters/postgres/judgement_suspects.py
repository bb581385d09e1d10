"""Which hashes of natural keys occur more than once in whatever slices: looked at together, part by part of their values."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.key_hashes import KeyHashing
from dataharvest.rules.key_hashes import Hashes, distinct, part_groups, repeated_in, stored, stored_hashes
from dataharvest.sql import queries

_SQL = queries("judgement_slices")

PART_COUNT = 256
"""Into which the hashes of every slice are cut. Change it only together with the table: slices cut otherwise can't be merged."""
_GROUPS_AT_ONCE = 16
"""Groups of parts, each as many hashes as are held in memory, that one step looks at: some 16 million."""
_SUSPECTS_AT_ONCE = 1 << 20
"""Once a step has found so many it looks at no more groups."""


class SlicedSuspects:
    """The suspects of a delivery all of whose slices were counted, kept with the slice in which they are."""

    def __init__(self, connection: Connection, delivery_id: int, *, hashing: KeyHashing) -> None:
        self._connection = connection
        self._delivery_id = delivery_id
        self._hashing = hashing

    async def look_on(self) -> bool:
        """Look at some more hashes; whether all are looked at.

        Where there are suspects they are kept, and told of in the next step.
        """
        rows = await self._connection.fetch(_SQL["cuts"], self._delivery_id)
        groups = self._groups_left(rows)
        if not groups:
            return True
        stop, found = await self._merge(groups[:_GROUPS_AT_ONCE], [row["first_block"] for row in rows])
        if not found and stop == PART_COUNT and not any(row["suspect_count"] for row in rows):
            return True
        await self._connection.executemany(_SQL["add_suspects"], found)
        await self._connection.execute(_SQL["note_merged"], self._delivery_id, stop)
        return False

    async def named_in(self, first_block: int) -> list[int]:
        """Those of a slice."""
        found: bytes = await self._connection.fetchval(_SQL["suspects"], self._delivery_id, first_block)
        return list(stored_hashes([found]).tolist())

    def _groups_left(self, rows: Sequence[Any]) -> list[tuple[int, int]]:
        done: int = rows[0]["merged_part_count"]
        if done == PART_COUNT:
            return []
        counts = np.diff(np.array([row["cuts"] for row in rows], dtype=np.int64)).sum(axis=0)
        groups = part_groups(counts[done:].tolist(), most=self._hashing.at_once)
        return [(start + done, stop + done) for start, stop in groups]

    async def _merge(self, groups: Sequence[tuple[int, int]], slices: Sequence[int]) -> tuple[int, list[Any]]:
        """Up to which part all was looked at, and what was found in each slice, as it is kept."""
        found: dict[int, list[Hashes]] = {}
        done = total = 0
        for start, stop in groups:
            pieces = await self._connection.fetch(_SQL["hashes"], self._delivery_id, start, stop)
            hashes = [stored_hashes([piece[0]]) for piece in pieces]
            for first_block, one in zip(slices, await asyncio.to_thread(repeated_in, hashes), strict=True):
                if len(one):
                    found.setdefault(first_block, []).append(one)
                    total += len(one)
            done = stop
            if total >= _SUSPECTS_AT_ONCE:
                break
        return done, [self._kept(first_block, np.concatenate(pieces)) for first_block, pieces in found.items()]

    def _kept(self, first_block: int, hashes: Hashes) -> tuple[int, int, bytes, int]:
        # Parts follow each other by value, so all are in order.
        return self._delivery_id, first_block, stored(distinct(hashes)), len(hashes)
