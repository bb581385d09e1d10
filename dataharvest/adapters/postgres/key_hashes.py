"""Hashes of a delivery's natural keys, out of PostgreSQL and compared within bounded memory, however many they are."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import numpy as np

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.entities import Entity
from dataharvest.errors import Unavailable
from dataharvest.rules.key_hashes import (
    COPY_HEADER_BYTES,
    COPY_ROW_BYTES,
    HASH_BYTES,
    MAX_SUSPECTS,
    hashes_in,
    hashes_in_rows,
    parts,
    repeated,
    repeated_count,
)


@dataclass(frozen=True, kw_only=True)
class KeyHashing:
    """How natural keys are hashed, and how many hashes are looked at together."""

    expression: str = "hashtextextended({key}::text, 0)"
    """In SQL, of the column ``{key}``; equal keys must have equal hashes."""
    at_once: int = 1 << 20
    """So many are held in memory: 8 MiB, and for a moment as much again."""

    def of(self, entity: Entity) -> str:
        """The hash of an entity's natural key, in SQL."""
        return self.expression.format(key=entity.natural_key)


KEY_HASHING = KeyHashing()

Suspects = list[int] | None
"""Hashes that occur more than once; None when they are too many to be named."""

_MAX_FILES = 256
_COPY_END = b"\xff\xff"


async def suspects_in(aggregate: bytes, *, most: int = MAX_SUSPECTS) -> Suspects:
    """The suspects among hashes that came as one value; None when more than so many have a hash that occurs more than once."""
    return await asyncio.to_thread(_suspects_in, aggregate, most)


def _suspects_in(aggregate: bytes, most: int) -> Suspects:
    hashes = hashes_in(aggregate)
    found: list[int] = repeated(hashes).tolist()
    return None if found and repeated_count(hashes) > most else found


async def stored_suspects(
    connection: Connection, entity: Entity, delivery_id: int, *, hashing: KeyHashing, count: int
) -> Suspects:
    """The suspects among the hashes of a delivery that are too many for one value: parted into files, then looked at by part."""
    query = (
        f"SELECT {hashing.of(entity)} FROM {entity.table} "
        f"WHERE delivery_id = {delivery_id}::bigint AND {entity.natural_key} IS NOT NULL"
    )
    # Twice as many parts as would do, for one is never exactly as large as another.
    with PartedHashes(part_count=min(_MAX_FILES, 2 * count // hashing.at_once + 1), most=hashing.at_once) as parted:
        await connection.copy_from_query(query, output=parted.add, format="binary")
        return await asyncio.to_thread(parted.suspects)


class PartedHashes:
    """Hashes in temporary files, so that equal ones are in one file, and each file is small enough to be sorted.

    Args:
        part_count: number of files.
        most: hashes that a file may have.
        piece_bytes: so much is gathered before it is parted.
        open_file: opens a file that is gone once it is closed.
    """

    def __init__(
        self,
        *,
        part_count: int,
        most: int,
        piece_bytes: int = 1 << 20,
        open_file: Callable[[], IO[bytes]] = TemporaryFile,
    ) -> None:
        self._files = [open_file() for _ in range(part_count)]
        self._most = most
        self._piece_bytes = piece_bytes
        self._pending = bytearray()
        self._header_left = COPY_HEADER_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for file in self._files:
            file.close()

    async def add(self, data: bytes) -> None:
        """Take in a piece of a binary COPY, cut anywhere."""
        skipped = min(self._header_left, len(data))
        self._header_left -= skipped
        self._pending += data[skipped:]
        if len(self._pending) >= self._piece_bytes:
            self._part()

    def suspects(self) -> Suspects:
        """The suspects, once everything was taken in."""
        self._part()
        assert self._pending == _COPY_END, "a binary COPY of one number ends with its end mark"
        found: list[int] = []
        for file in self._files:
            if file.tell() > self._most * HASH_BYTES:
                # Hashes spread evenly: so many in one part are copies of a few, or no machine should hold them.
                return None
            file.seek(0)
            found += repeated(np.fromfile(file, dtype=np.int64)).tolist()
            if len(found) > MAX_SUSPECTS:
                return None
        return found

    def _part(self) -> None:
        whole = len(self._pending) // COPY_ROW_BYTES * COPY_ROW_BYTES
        hashes = hashes_in_rows(bytes(self._pending[:whole]))
        del self._pending[:whole]
        try:
            for file, part in zip(self._files, parts(hashes, part_count=len(self._files)), strict=True):
                file.write(part.tobytes())
        except OSError as error:
            raise Unavailable(f"temporary files: {error}") from error
