"""Objects kept by an S3 server."""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from dataharvest.adapters.s3_errors import translated
from dataharvest.adapters.s3_parts import fetch_part
from dataharvest.adapters.s3_upload import upload
from dataharvest.errors import ObjectTrouble
from dataharvest.objects import PART_BYTES, PIECE_BYTES, ListedObject, ListPage, ObjectVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_UPLOAD = TransferConfig(multipart_threshold=16 * 1_048_576, multipart_chunksize=8 * 1_048_576, max_concurrency=4)
ANSWER_S, UPLOAD_ANSWER_S = 20.0, 900.0
"""How long a server may say nothing; and while it puts the parts of an upload together: some copy all of them, gigabytes."""
# 400 from a HEAD: no object can have this name.
_NO_SUCH_OBJECT = (400, 404)
_UNEXPLAINED = {400, 403, 404}

Answer = TypeVar("Answer")


def s3_client(
    *, endpoint_url: str | None, access_key: str | None, secret_key: str | None, region: str, answer_s: float = ANSWER_S
) -> "S3Client":
    """A client of AWS, or of the server at ``endpoint_url``; without keys boto3 looks for credentials itself.

    A server that says nothing for ``answer_s`` seconds is asked again.
    """
    config = Config(
        connect_timeout=5,
        read_timeout=answer_s,
        retries={"mode": "standard", "max_attempts": 4},
        max_pool_connections=24,
        # Servers other than AWS rarely have a DNS name per bucket, nor know the newest checksums.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=config,
    )


class S3ObjectStore:
    """The object store on a real server; boto3 runs in threads of its own, ``threads`` calls at a time."""

    def __init__(self, client: "S3Client", *, threads: int = 12, uploads_by: "S3Client | None" = None) -> None:
        """Keep the client, and the one that uploads large files if that is another; nothing is sent yet."""
        self._client = client
        self._uploads_by = uploads_by or client
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="s3")
        self._ended = False

    async def head(self, bucket: str, key: str) -> ObjectVersion | None:
        """See `ObjectStore`."""
        # No key holds a NUL; some servers answer 500 when asked, which would look like an outage.
        if "\0" in key:
            return None
        try:
            return await self._in_thread(partial(self._head, bucket, key))
        except ObjectTrouble as trouble:
            if trouble.code in _NO_SUCH_OBJECT:
                return None
            raise

    async def read(self, version: ObjectVersion, *, start: int = 0, part_bytes: int = PART_BYTES) -> AsyncIterator[bytes]:
        """See `ObjectStore`; the next part is fetched while one is consumed."""
        ahead = self._fetch_ahead(version, start=start, part_bytes=part_bytes)
        try:
            while ahead is not None:
                part = await ahead
                start += len(part)
                ahead = self._fetch_ahead(version, start=start, part_bytes=part_bytes)
                with memoryview(part) as view:
                    for offset in range(0, len(part), PIECE_BYTES):
                        yield bytes(view[offset : offset + PIECE_BYTES])
        finally:
            if ahead is not None:
                ahead.cancel()

    async def list_keys(self, bucket: str, *, prefix: str = "", start_after: str = "", limit: int = 1000) -> ListPage:
        """See `ObjectStore`."""
        return await self._in_thread(partial(self._list, bucket, prefix, start_after, limit))

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        await self._in_thread(partial(self._put, bucket, key, data))

    async def put_stream(self, bucket: str, key: str, pieces: AsyncIterable[bytes]) -> int:
        """See `ObjectStore`."""
        return await upload(self._uploads_by, bucket, key, pieces, in_thread=self._in_thread)

    async def put_file(self, bucket: str, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        await self._in_thread(partial(self._put_file, bucket, key, path))

    def close(self) -> None:
        """End calls under way at their next piece; later ones fail."""
        self._ended = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _in_thread(self, call: Callable[[], Answer]) -> "Future[Answer]":
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _fetch_ahead(self, version: ObjectVersion, *, start: int, part_bytes: int) -> "Future[bytearray] | None":
        if start >= version.size_bytes:
            return None
        stop = min(start + part_bytes, version.size_bytes)
        call = partial(fetch_part, self._client, version, start=start, stop=stop, ended=lambda: self._ended)
        part = self._in_thread(call)
        # A part that nobody waits for any more may fail; asyncio would complain.
        part.add_done_callback(lambda done: done.cancelled() or done.exception())
        return part

    def _head(self, bucket: str, key: str) -> ObjectVersion | None:
        try:
            return self._look(bucket, key)
        except ObjectTrouble as trouble:
            if trouble.code not in _UNEXPLAINED:
                raise
        # No answer to a HEAD has a body. That to a GET says whether it is this object, or our credentials or clock.
        with suppress(ObjectTrouble), translated(bucket, key):
            self._client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
        return self._look(bucket, key)

    def _look(self, bucket: str, key: str) -> ObjectVersion | None:
        with translated(bucket, key):
            found = self._client.head_object(Bucket=bucket, Key=key)
        # A server on a file system answers for a folder, which has no content and so no ETag.
        if "ETag" not in found:
            return None
        version_id = found.get("VersionId")
        return ObjectVersion(
            bucket=bucket,
            key=key,
            version_id=None if version_id == "null" else version_id,
            etag=found["ETag"],
            last_modified=_whole_seconds(found["LastModified"]),
            size_bytes=found["ContentLength"],
        )

    def _list(self, bucket: str, prefix: str, start_after: str, limit: int) -> ListPage:
        with translated(bucket, prefix):
            page = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=start_after, MaxKeys=limit)
        objects = tuple(
            ListedObject(
                key=found["Key"],
                etag=found["ETag"],
                last_modified=_whole_seconds(found["LastModified"]),
                size_bytes=found["Size"],
            )
            for found in page.get("Contents", [])
        )
        return ListPage(objects=objects, next_start_after=objects[-1].key if page["IsTruncated"] and objects else None)

    def _put(self, bucket: str, key: str, data: bytes) -> None:
        with translated(bucket, key):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def _put_file(self, bucket: str, key: str, path: Path) -> None:
        with path.open("rb") as file, translated(bucket, key):
            self._uploads_by.upload_fileobj(file, bucket, key, Config=_UPLOAD)


def _whole_seconds(moment: datetime) -> datetime:
    # A HEAD knows seconds only, a listing of some servers more; the same content must have one time.
    return moment.astimezone(UTC).replace(microsecond=0)
