"""What every object store promises, on the fake and on the real server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.adapters.s3 import S3ObjectStore, s3_client
from dataharvest.errors import ObjectTrouble, Unavailable
from dataharvest.objects import PART_BYTES as UPLOAD_BYTES
from dataharvest.objects import PIECE_BYTES, ObjectStore, ObjectVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = [
    "t/accounts_20240328.csv",
    "t/end of day/accounts_20240328.csv",
    "t/a+b/accounts_20240328.csv",
    "t/100%20sure/accounts_20240328.csv",
    "t/Größe/Müller & Söhne/accounts_20240328.csv",
    "t/a/b/c/d/accounts_20240328.csv",
]
CONTENT = bytes(range(256)) * 1024
PART_BYTES = 32 * 1024


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bucket of its own in a store."""

    store: ObjectStore
    bucket: str
    versioned: bool

    async def put(self, key: str, data: bytes) -> ObjectVersion:
        """Store and return what is there now."""
        await self.store.put(self.bucket, key, data)
        version = await self.store.head(self.bucket, key)
        assert version is not None
        return version

    async def content(self, version: ObjectVersion, *, start: int = 0) -> bytes:
        """Everything from ``start`` on."""
        return b"".join([piece async for piece in self.store.read(version, start=start, part_bytes=PART_BYTES)])


def client_of(environment: dict[str, str], *, endpoint_url: str | None = None) -> "S3Client":
    return s3_client(
        endpoint_url=endpoint_url or environment["DATAHARVEST_S3_ENDPOINT_URL"],
        access_key=environment["DATAHARVEST_S3_ACCESS_KEY"],
        secret_key=environment["DATAHARVEST_S3_SECRET_KEY"],
        region=environment["DATAHARVEST_S3_REGION"],
    )


def new_bucket(client: "S3Client", *, versioned: bool) -> str:
    bucket = f"contract-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    if versioned:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture(scope="module")
def shared_client(stack_environment: dict[str, str]) -> "S3Client":
    """One for all stores: a closed one opens its connections anew, and to make one costs more than most tests here."""
    return client_of(stack_environment)


@pytest.fixture(params=["memory", "memory versioned", "s3", "s3 versioned"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    versioned = request.param.endswith("versioned")
    if request.param.startswith("memory"):
        yield Place(store=MemoryObjectStore(versioned=versioned), bucket="b", versioned=versioned)
        return
    client = request.getfixturevalue("shared_client")
    store = S3ObjectStore(client)
    yield Place(store=store, bucket=new_bucket(client, versioned=versioned), versioned=versioned)
    store.close()


@pytest.mark.parametrize("key", KEYS)
async def test_what_was_put_is_found_read_and_listed_under_its_key(place: Place, key: str) -> None:
    version = await place.put(key, CONTENT)
    assert (version.bucket, version.key, version.size_bytes) == (place.bucket, key, len(CONTENT))
    assert version.last_modified.tzinfo is UTC
    assert await place.content(version) == CONTENT
    [listed] = (await place.store.list_keys(place.bucket)).objects
    assert (listed.key, listed.etag, listed.last_modified) == (key, version.etag, version.last_modified)
    assert listed.size_bytes == len(CONTENT)


@pytest.mark.parametrize("key", [*KEYS, "t/", "t/\0.csv", "t/" + "x" * 300, "../t"])
async def test_a_key_without_content_has_no_version(place: Place, key: str) -> None:
    await place.put("t/something-else.csv", b"1")
    assert await place.store.head(place.bucket, key) is None


async def test_a_bucket_that_is_not_there_has_no_objects(place: Place) -> None:
    assert await place.store.head("no-such-bucket-anywhere", "t/accounts_20240328.csv") is None


@pytest.mark.parametrize("start", [0, 1, PART_BYTES - 1, PART_BYTES, len(CONTENT) - 1, len(CONTENT), len(CONTENT) + 7])
async def test_reading_begins_where_it_is_told(place: Place, start: int) -> None:
    version = await place.put("t/x.csv", CONTENT)
    assert await place.content(version, start=start) == CONTENT[start:]


async def test_an_empty_object_has_a_version_and_no_pieces(place: Place) -> None:
    version = await place.put("t/empty.csv", b"")
    assert version.size_bytes == 0
    assert [piece async for piece in place.store.read(version)] == []


async def test_pieces_are_small_and_a_file_of_many_parts_is_whole(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_bytes(b"".join(hashlib.sha256(index.to_bytes(4)).digest() for index in range(600_000)))
    await place.store.put_file(place.bucket, "t/large.csv", path)
    version = await place.store.head(place.bucket, "t/large.csv")
    assert version is not None
    pieces = [piece async for piece in place.store.read(version)]
    assert 0 < max(map(len, pieces)) <= PIECE_BYTES
    assert b"".join(pieces) == path.read_bytes()


async def test_other_content_under_a_key_has_another_identity(place: Place) -> None:
    first = await place.put("t/x.csv", b"first")
    second = await place.put("t/x.csv", b"second")
    assert first.identity != second.identity
    assert (second.version_id is not None) == place.versioned
    assert place.versioned or second.identity == f"{second.etag}@{second.last_modified.isoformat()}"


async def test_an_object_overwritten_while_it_is_read_is_never_mixed(place: Place) -> None:
    version = await place.put("t/x.csv", CONTENT)
    reading = place.store.read(version, part_bytes=PART_BYTES)
    begun = await anext(reading)
    await place.put("t/x.csv", CONTENT[::-1])
    if place.versioned:
        assert begun + b"".join([piece async for piece in reading]) == CONTENT
        return
    with pytest.raises(ObjectTrouble) as caught:
        await place.content(version)
    assert caught.value.code == 412
    with pytest.raises(ObjectTrouble):
        [piece async for piece in reading]


async def test_an_object_that_became_shorter_is_another_object(place: Place) -> None:
    version = await place.put("t/x.csv", CONTENT)
    await place.put("t/x.csv", b"short")
    if place.versioned:
        assert await place.content(version, start=9000) == CONTENT[9000:]
        return
    with pytest.raises(ObjectTrouble) as caught:
        await place.content(version, start=9000)
    assert caught.value.code == 412


async def test_what_was_never_there_is_gone(place: Place) -> None:
    version = await place.put("t/x.csv", CONTENT)
    gone = ObjectVersion(
        bucket=place.bucket,
        key="t/never.csv",
        version_id=version.version_id,
        etag=version.etag,
        last_modified=version.last_modified + timedelta(seconds=1),
        size_bytes=1,
    )
    with pytest.raises(ObjectTrouble) as caught:
        await place.content(gone)
    assert caught.value.code == 404


async def test_a_listing_comes_in_pages_in_bytewise_order(place: Place) -> None:
    keys = sorted((f"{folder}/{number:02}.csv" for folder in ("a b", "a+b", "aä") for number in range(5)), key=str.encode)
    for key in reversed(keys):
        await place.put(key, b"1")
    found, start_after = [], ""
    while True:
        page = await place.store.list_keys(place.bucket, start_after=start_after, limit=4)
        assert 0 < len(page.objects) <= 4
        found += [listed.key for listed in page.objects]
        if page.next_start_after is None:
            break
        start_after = page.next_start_after
    assert found == keys


async def test_a_listing_keeps_to_its_prefix(place: Place) -> None:
    for key in ("t/a.csv", "t/b.csv", "u/c.csv"):
        await place.put(key, b"1")
    page = await place.store.list_keys(place.bucket, prefix="t/")
    assert [listed.key for listed in page.objects] == ["t/a.csv", "t/b.csv"]
    assert page.next_start_after is None


async def test_a_reader_may_leave_in_the_middle(place: Place) -> None:
    version = await place.put("t/x.csv", CONTENT)
    async for piece in place.store.read(version, part_bytes=PART_BYTES):
        assert piece == CONTENT[:PART_BYTES]
        break
    assert await place.content(version) == CONTENT


@asynccontextmanager
async def breaking_link(environment: dict[str, str], *, after_bytes: int, times: int) -> AsyncIterator[str]:
    """An address that leads to S3; the first ``times`` answers longer than ``after_bytes`` are cut off there."""
    target = urlsplit(environment["DATAHARVEST_S3_ENDPOINT_URL"])
    left = times
    connections: set[asyncio.Future[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limit: int | None) -> None:
        nonlocal left
        carried = 0
        try:
            while data := await reader.read(65_536):
                carried += len(data)
                if limit is not None and left > 0 and carried > limit:
                    left -= 1
                    break
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
        both = (carry(reader, far_writer, limit=None), carry(far_reader, writer, limit=after_bytes))
        await asyncio.gather(*both, return_exceptions=True)
        await asyncio.gather(writer.wait_closed(), far_writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        # The reader has closed its side. What is still carried when the loop ends would be warned of in some later test.
        await asyncio.gather(*connections)


@pytest.mark.parametrize(("after_bytes", "times"), [(100_000, 1), (100_000, 4), (1, 3)])
async def test_a_body_that_breaks_is_resumed_where_it_broke(
    stack_environment: dict[str, str], after_bytes: int, times: int
) -> None:
    client = client_of(stack_environment)
    whole = Place(store=S3ObjectStore(client), bucket=new_bucket(client, versioned=False), versioned=False)
    version = await whole.put("t/x.csv", CONTENT * 4)
    async with breaking_link(stack_environment, after_bytes=after_bytes, times=times) as endpoint_url:
        store = S3ObjectStore(client_of(stack_environment, endpoint_url=endpoint_url))
        assert b"".join([piece async for piece in store.read(version)]) == CONTENT * 4
        store.close()
    client.close()


async def test_a_body_that_breaks_again_and_again_is_an_outage(stack_environment: dict[str, str]) -> None:
    client = client_of(stack_environment)
    whole = Place(store=S3ObjectStore(client), bucket=new_bucket(client, versioned=False), versioned=False)
    version = await whole.put("t/x.csv", CONTENT * 4)
    async with breaking_link(stack_environment, after_bytes=20_000, times=10_000) as endpoint_url:
        store = S3ObjectStore(client_of(stack_environment, endpoint_url=endpoint_url))
        with pytest.raises(Unavailable):
            [piece async for piece in store.read(version)]
        store.close()
    client.close()


async def test_a_server_that_is_away_is_an_outage(stack_environment: dict[str, str], unused_tcp_port: int) -> None:
    store = S3ObjectStore(client_of(stack_environment, endpoint_url=f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(Unavailable):
        await store.head("b", "t/x.csv")
    with pytest.raises(Unavailable):
        await store.list_keys("b")
    store.close()


async def test_a_wrong_password_is_an_outage_and_no_objects_trouble(stack_environment: dict[str, str]) -> None:
    client = client_of({**stack_environment, "DATAHARVEST_S3_SECRET_KEY": "wrong"})
    store = S3ObjectStore(client)
    with pytest.raises(Unavailable):
        await store.list_keys(stack_environment["DATAHARVEST_S3_BUCKET"])
    store.close()


async def pieces_of(data: bytes, *, piece_bytes: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]


@pytest.mark.parametrize("size_bytes", [0, 1, UPLOAD_BYTES - 1, UPLOAD_BYTES, UPLOAD_BYTES + 1, 2 * UPLOAD_BYTES + 12345])
async def test_a_stream_of_any_length_becomes_one_object(place: Place, size_bytes: int) -> None:
    data = (CONTENT * (size_bytes // len(CONTENT) + 1))[:size_bytes]

    stored = await place.store.put_stream(place.bucket, KEYS[0], pieces_of(data, piece_bytes=700_001))

    version = await place.store.head(place.bucket, KEYS[0])
    assert version is not None
    assert (stored, version.size_bytes) == (size_bytes, size_bytes)
    assert hashlib.sha256(await place.content(version)).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("size_bytes", [1000, UPLOAD_BYTES + 1000])
async def test_of_a_stream_that_breaks_nothing_is_stored(place: Place, size_bytes: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces_of(bytes(size_bytes), piece_bytes=1_000_000):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await place.store.put_stream(place.bucket, KEYS[0], broken())

    assert await place.store.head(place.bucket, KEYS[0]) is None
    assert (await place.store.list_keys(place.bucket)).objects == ()


async def test_a_stream_into_a_bucket_that_is_not_there_is_that_objects_trouble(stack_environment: dict[str, str]) -> None:
    store = S3ObjectStore(client_of(stack_environment))
    try:
        with pytest.raises(ObjectTrouble):
            await store.put_stream("no-such-bucket", KEYS[0], pieces_of(bytes(2 * UPLOAD_BYTES), piece_bytes=1_000_000))
    finally:
        store.close()


async def test_a_broken_stream_leaves_no_parts_behind(stack_environment: dict[str, str]) -> None:
    client = client_of(stack_environment)
    bucket = new_bucket(client, versioned=False)
    store = S3ObjectStore(client)

    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces_of(bytes(2 * UPLOAD_BYTES), piece_bytes=1_000_000):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put_stream(bucket, KEYS[0], broken())

    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    store.close()


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
async def test_wrong_credentials_are_an_outage_and_not_the_trouble_of_the_object_that_is_looked_at(
    stack_environment: dict[str, str], wrong: str
) -> None:
    client = client_of(stack_environment)
    place = Place(store=S3ObjectStore(client), bucket=new_bucket(client, versioned=False), versioned=False)
    await place.put("t/x.csv", CONTENT)
    store = S3ObjectStore(client_of({**stack_environment, f"DATAHARVEST_S3_{wrong.upper()}": "mistyped"}))

    with pytest.raises(Unavailable):
        await store.head(place.bucket, "t/x.csv")

    store.close()
    client.close()


@contextmanager
def refusing(status: int, name: str) -> Iterator[str]:
    """A server that refuses every request, and says why when the answer may have a body; its address."""

    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # noqa: N802, named by the library
            self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:  # noqa: N802, named by the library
            self.do_HEAD()
            self.wfile.write(f"<Error><Code>{name}</Code><Message>no</Message></Error>".encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed"), (403, "InvalidAccessKeyId"), (404, "XAdminUserNotFound")],
)
async def test_a_refusal_that_is_not_about_the_object_is_an_outage_also_when_the_first_answer_has_no_reason(
    stack_environment: dict[str, str], status: int, name: str
) -> None:
    with refusing(status, name) as endpoint_url:
        store = S3ObjectStore(client_of(stack_environment, endpoint_url=endpoint_url))
        with pytest.raises(Unavailable):
            await store.head("b", "t/x.csv")
        store.close()


async def test_an_object_that_is_forbidden_is_that_objects_trouble_and_a_bad_name_is_no_object(
    stack_environment: dict[str, str],
) -> None:
    with refusing(403, "AccessDenied") as endpoint_url:
        store = S3ObjectStore(client_of(stack_environment, endpoint_url=endpoint_url))
        with pytest.raises(ObjectTrouble) as trouble:
            await store.head("b", "t/x.csv")
        store.close()
    with refusing(400, "InvalidURI") as endpoint_url:
        store = S3ObjectStore(client_of(stack_environment, endpoint_url=endpoint_url))
        assert await store.head("b", "t/x.csv") is None
        store.close()

    assert trouble.value.code == 403
