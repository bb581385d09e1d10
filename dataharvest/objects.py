"""Objects in a bucket: one version of one, a page of a listing, and what a store of them promises."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

PART_BYTES = 8 * 1_048_576
"""Length of one ranged GET, in bytes."""
UPLOADED_PARTS = 3
"""Parts of an upload that are in memory at a time, at most: one is filled while one is sent."""
PIECE_BYTES = 1_048_576
"""Longest piece that a reader is given, in bytes."""


@dataclass(frozen=True, kw_only=True)
class ObjectVersion:
    """One content of one key; what `read` is pinned to."""

    bucket: str
    key: str
    version_id: str | None
    """None on a bucket without versions."""
    etag: str
    """As the server writes it, quotes included."""
    last_modified: datetime
    """Aware, UTC; S3 keeps whole seconds."""
    size_bytes: int

    @property
    def identity(self) -> str:
        """What tells this content from every other under the same bucket and key."""
        return self.version_id or f"{self.etag}@{self.last_modified.isoformat()}"

    def shares_its_second(self, etag: str, last_modified: datetime) -> bool:
        """Whether another content of the key has the same moment, so that nothing in the bucket says which came first."""
        return self.version_id is None and etag != self.etag and last_modified == self.last_modified


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """What a listing says about the current content of a key."""

    key: str
    etag: str
    last_modified: datetime
    """Aware, UTC."""
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a listing, in bytewise order of the keys."""

    objects: tuple[ListedObject, ...]
    next_start_after: str | None
    """Where the next page begins; None on the last one."""


class ObjectStore(Protocol):
    """Keeps objects in buckets.

    Every method raises Unavailable when the service fails (transport, 5xx, throttling, credentials that no object
    accepts) and ObjectTrouble when this object or bucket cannot be used: ``code`` 403, 404 or 412.
    """

    async def head(self, bucket: str, key: str) -> ObjectVersion | None:
        """The current content of a key, or None when there is none."""

    def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = PART_BYTES) -> AsyncIterator[bytes]:
        """The bytes of exactly this version from ``start`` on, in order, in pieces of at most ``PIECE_BYTES``.

        Holds at most two parts in memory. Nothing comes when ``start`` is at or behind the end. A body that breaks is
        resumed where it broke.

        Raises:
            ObjectTrouble: the version is gone (404), replaced on a bucket without versions (412) or forbidden (403),
                also in the middle.
        """

    async def list_keys(self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000) -> ListPage:
        """At most ``limit`` objects whose key begins with ``prefix`` and comes after ``start_after``."""

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Store ``data`` under the key, replacing or adding a version."""

    async def put_stream(self, bucket: str, key: str, pieces: AsyncIterable[bytes]) -> int:
        """Store what comes under the key, whole or not at all, and return its length in bytes.

        Holds at most ``UPLOADED_PARTS`` parts of ``PART_BYTES`` in memory, however much comes. When ``pieces`` raises,
        nothing is stored, and the error passes as it is.
        """

    async def put_file(self, bucket: str, key: str, path: Path) -> None:
        """Store a file under the key, in several parts when it is large."""
