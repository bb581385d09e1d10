"""Objects kept in memory: the store of tests, under the same contract as the real one."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dataharvest.errors import ObjectTrouble
from dataharvest.objects import PART_BYTES, PIECE_BYTES, ListedObject, ListPage, ObjectVersion

_FIRST_MOMENT = datetime(2024, 3, 28, 5, tzinfo=UTC)


class MemoryObjectStore:
    """The object store without a server; every put is a second later than the one before."""

    def __init__(self, *, versioned: bool) -> None:
        """Begin empty; ``versioned`` says whether every bucket keeps what is overwritten."""
        self._versioned = versioned
        self._contents: dict[tuple[str, str], list[tuple[ObjectVersion, bytes]]] = {}
        self._put_count = 0
        self.seconds_per_put = 1.0
        """Below 1, several puts share a second; S3 keeps whole ones."""

    async def head(self, bucket: str, key: str) -> ObjectVersion | None:
        """See `ObjectStore`."""
        contents = self._contents.get((bucket, key))
        return contents[-1][0] if contents else None

    async def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = PART_BYTES) -> AsyncIterator[bytes]:
        """See `ObjectStore`."""
        while start < version.size_bytes:
            part = self._content(version)[start : start + part_bytes]
            start += len(part)
            for offset in range(0, len(part), PIECE_BYTES):
                yield part[offset : offset + PIECE_BYTES]

    async def list_keys(self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000) -> ListPage:
        """See `ObjectStore`."""
        keys = sorted((key for place, key in self._contents if place == bucket), key=str.encode)
        keys = [key for key in keys if key.startswith(prefix) and key.encode() > start_after.encode()]
        newest = [self._contents[bucket, key][-1][0] for key in keys[:limit]]
        objects = tuple(
            ListedObject(key=found.key, etag=found.etag, last_modified=found.last_modified, size_bytes=found.size_bytes)
            for found in newest
        )
        return ListPage(objects=objects, next_start_after=objects[-1].key if len(keys) > limit else None)

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._put_count += 1
        version = ObjectVersion(
            bucket=bucket,
            key=key,
            version_id=f"v{self._put_count}" if self._versioned else None,
            etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"',
            last_modified=_FIRST_MOMENT + timedelta(seconds=int(self._put_count * self.seconds_per_put)),
            size_bytes=len(data),
        )
        kept = self._contents.get((bucket, key), []) if self._versioned else []
        self._contents[bucket, key] = [*kept, (version, data)]

    async def put_stream(self, bucket: str, key: str, pieces: AsyncIterable[bytes]) -> int:
        """See `ObjectStore`."""
        data = b"".join([piece async for piece in pieces])
        await self.put(bucket, key, data)
        return len(data)

    async def put_file(self, bucket: str, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        await self.put(bucket, key, path.read_bytes())

    def _content(self, version: ObjectVersion) -> bytes:
        contents = self._contents.get((version.bucket, version.key), [])
        for found, data in contents:
            if (found.version_id, found.etag) == (version.version_id, version.etag):
                return data
        code = 412 if contents and version.version_id is None else 404
        raise ObjectTrouble(f"{version.key!r} cannot be read any more", code=code, bucket=version.bucket, key=version.key)
