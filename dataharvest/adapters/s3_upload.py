"""An upload of unknown length, in parts, so that memory does not grow with it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dataharvest.adapters.s3_errors import translated
from dataharvest.objects import PART_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


class InThread(Protocol):
    """Runs a call that blocks beside the event loop."""

    def __call__(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Its answer, later."""


async def upload(client: "S3Client", bucket: str, key: str, pieces: AsyncIterable[bytes], *, in_thread: InThread) -> int:
    """Store the pieces as one object, whole or not at all; its length in bytes.

    A part is sent while the next one is filled. What is shorter than a part is sent in one request.
    """
    parts = _in_parts(pieces)
    first = await anext(parts, b"")
    if len(first) < PART_BYTES:
        await in_thread(partial(_put, client, bucket, key, first))
        return len(first)
    upload_id = await in_thread(partial(_begin, client, bucket, key))
    sent = _Sent(client, bucket, key, upload_id, in_thread)
    try:
        await sent.add(first)
        del first
        async for part in parts:
            await sent.add(part)
        await sent.complete()
    finally:
        # Also when the sender went away: parts that nobody completes would be kept, and paid for, without being seen.
        await sent.abort_unless_complete()
    return sent.length


class _Sent:
    """The parts that were sent so far, and the one under way."""

    def __init__(self, client: "S3Client", bucket: str, key: str, upload_id: str, in_thread: InThread) -> None:
        self._client, self._upload_id, self._in_thread = client, upload_id, in_thread
        self._place = bucket, key
        self._parts: list[CompletedPartTypeDef] = []
        self._under_way: asyncio.Future[CompletedPartTypeDef] | None = None
        self._complete = False
        self.length = 0

    async def add(self, part: bytes) -> None:
        await self._settle()
        self.length += len(part)
        number = len(self._parts) + 1
        self._under_way = self._in_thread(partial(_send, self._client, *self._place, self._upload_id, number=number, part=part))

    async def complete(self) -> None:
        await self._settle()
        await self._in_thread(partial(_complete, self._client, *self._place, self._upload_id, self._parts))
        self._complete = True

    async def abort_unless_complete(self) -> None:
        if self._complete:
            return
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
        await asyncio.shield(self._in_thread(partial(_abort, self._client, *self._place, self._upload_id)))

    async def _settle(self) -> None:
        if self._under_way is not None:
            self._parts.append(await self._under_way)
            self._under_way = None


async def _in_parts(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in parts of exactly ``PART_BYTES``, but the last."""
    part = bytearray()
    async for piece in pieces:
        part += piece
        while len(part) >= PART_BYTES:
            yield bytes(part[:PART_BYTES])
            del part[:PART_BYTES]
    if part:
        yield bytes(part)


def _put(client: "S3Client", bucket: str, key: str, data: bytes) -> None:
    with translated(bucket, key):
        client.put_object(Bucket=bucket, Key=key, Body=data)


def _begin(client: "S3Client", bucket: str, key: str) -> str:
    with translated(bucket, key):
        return client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]


def _send(client: "S3Client", bucket: str, key: str, upload_id: str, *, number: int, part: bytes) -> "CompletedPartTypeDef":
    with translated(bucket, key):
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part)
    return {"ETag": answer["ETag"], "PartNumber": number}


def _complete(client: "S3Client", bucket: str, key: str, upload_id: str, parts: "list[CompletedPartTypeDef]") -> None:
    with translated(bucket, key):
        client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


def _abort(client: "S3Client", bucket: str, key: str, upload_id: str) -> None:
    with translated(bucket, key):
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
