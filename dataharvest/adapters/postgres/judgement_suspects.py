"""Which hashes of natural keys occur more than once in whatever slices: looked at together, part by part of their values."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects, named
from dataharvest.rules.key_hashes import MAX_SUSPECTS, part_groups, repeated, stored_hashes
from dataharvest.sql import queries

_SQL = queries("judgement_slices")

PART_COUNT = 256
"""Into which the hashes of every slice are cut. Change it only together with the table: slices cut otherwise can't be merged."""
_GROUPS_AT_ONCE = 16
"""Groups of parts, each as many hashes as are held in memory, that one step looks at: some 16 million."""


class SlicedSuspects:
    """The suspects of a delivery all of whose slices were counted."""

    def __init__(self, connection: Connection, delivery_id: int, *, hashing: KeyHashing) -> None:
        self._connection = connection
        self._delivery_id = delivery_id
        self._hashing = hashing
        self.found: Suspects = []
        """Known once ``look_on`` has told that all is looked at."""

    async def look_on(self) -> bool:
        """Look at some more hashes; whether all are looked at.

        Where there are suspects they are kept, and told of in the next step.
        """
        rows = await self._connection.fetch(_SQL["cuts"], self._delivery_id)
        found, groups = rows[0]["suspects"], self._groups_left(rows)
        self.found = None if groups is None else named(found)
        if not groups:
            return True
        stop = groups[:_GROUPS_AT_ONCE][-1][1]
        found = await self._merge(found, groups[:_GROUPS_AT_ONCE])
        if not found and stop == PART_COUNT:
            return True
        # One more than can be named says that they are too many.
        await self._connection.execute(_SQL["keep_suspects"], self._delivery_id, stop, found[: MAX_SUSPECTS + 1])
        return False

    def _groups_left(self, rows: Sequence[Any]) -> list[tuple[int, int]] | None:
        """None when one part alone is too much."""
        done: int = rows[0]["merged_part_count"]
        if done == PART_COUNT:
            return []
        counts = np.diff(np.array([row["cuts"] for row in rows], dtype=np.int64)).sum(axis=0)
        # Hashes spread evenly: twice as many as others have, in one part, and more than may be held, are copies of a few.
        most = max(self._hashing.at_once, 2 * int(counts.sum()) // PART_COUNT)
        groups = part_groups(counts[done:].tolist(), most=most)
        return None if groups is None else [(start + done, stop + done) for start, stop in groups]

    async def _merge(self, found: list[int], groups: Sequence[tuple[int, int]]) -> list[int]:
        for start, stop in groups:
            if len(found) > MAX_SUSPECTS:
                break
            rows = await self._connection.fetch(_SQL["hashes"], self._delivery_id, start, stop)
            found = found + await asyncio.to_thread(_repeated_in, [row[0] for row in rows])
        return found


def _repeated_in(pieces: list[bytes]) -> list[int]:
    found: list[int] = repeated(stored_hashes(pieces)).tolist()
    return found
