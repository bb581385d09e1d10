"""One part of an object, read whole, however often its body breaks; blocks, so it runs in a thread."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataharvest.adapters.s3_errors import BROKEN_TRANSPORT, translated
from dataharvest.errors import Unavailable
from dataharvest.objects import PIECE_BYTES, ObjectVersion

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

_RESUMPTIONS = 8
"""How often one part may break before the service counts as unavailable."""
_RESUMPTION_DELAY_S = 0.05


def fetch_part(client: "S3Client", version: ObjectVersion, *, start: int, stop: int, ended: Callable[[], bool]) -> bytearray:
    """The bytes ``[start, stop)`` of exactly this version.

    botocore retries a request but never a body that breaks; here the rest is asked for again.

    Raises:
        ObjectTrouble: the version cannot be read (403, 404, 412).
        Unavailable: the service fails, the part broke too often, or ``ended`` became true.
    """
    part = bytearray()
    for attempt in range(_RESUMPTIONS + 1):
        with translated(version.bucket, version.key):
            body = _open(client, version, start=start + len(part), stop=stop)
        try:
            _fill(part, body, size_bytes=stop - start, ended=ended)
        except BROKEN_TRANSPORT:
            time.sleep(_RESUMPTION_DELAY_S * attempt)
        finally:
            body.close()
        if len(part) == stop - start:
            return part
    message = f"S3 broke off {_RESUMPTIONS + 1} times while it sent {version.key!r}"
    raise Unavailable(message, bucket=version.bucket, key=version.key, start=start, stop=stop)


def _open(client: "S3Client", version: ObjectVersion, *, start: int, stop: int) -> "StreamingBody":
    wanted = f"bytes={start}-{stop - 1}"
    if version.version_id is not None:
        answer = client.get_object(Bucket=version.bucket, Key=version.key, Range=wanted, VersionId=version.version_id)
    else:
        answer = client.get_object(Bucket=version.bucket, Key=version.key, Range=wanted, IfMatch=version.etag)
    if answer.get("ContentRange", "").startswith(f"bytes {start}-"):
        return answer["Body"]
    answer["Body"].close()
    # Bytes from another place would be taken for these.
    raise Unavailable("S3 does not send the range that was asked for", bucket=version.bucket, key=version.key, start=start)


def _fill(part: bytearray, body: "StreamingBody", *, size_bytes: int, ended: Callable[[], bool]) -> None:
    while len(part) < size_bytes:
        if ended():
            raise Unavailable("reading from S3 was ended")
        piece = body.read(min(PIECE_BYTES, size_bytes - len(part)))
        if not piece:
            return
        part += piece
