"""What the promises cost a large file: processor seconds of each part of its way, one at a time.

``python -m benchmarks.promises [--rows 3000000] [--rounds 3]`` prints one line and writes ``benchmarks/results/promises.json``.
Of the splitter and the worker: cutting between records, SHA-256 (of the content and twice of each chunk), packing and unpacking
messages, checking every record. Of PostgreSQL: the rows in one COPY into a table without a key; a transaction for each chunk;
and the same as the program does it, with the delivery locked, its number in each row, the index and the ledger. What P1a has
besides is Kafka's and the loops' of the processes.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from hashlib import sha256

import psutil

from benchmarks.generator import Oracle, write_transactions
from benchmarks.loads import make_table, require_all
from benchmarks.site import Site, fresh_site, keep_result
from dataharvest.adapters.postgres.chunks import PostgresChunks
from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.deliveries import ChunkOutcome
from dataharvest.entities import all_entities
from dataharvest.messages import ChunkMetadata, decode_chunk, encode_chunk
from dataharvest.ports import Position
from dataharvest.rules.header import Header, read_header
from dataharvest.rules.records import CheckedChunk
from dataharvest.rules.splitting import Piece, RecordSplitter
from dataharvest.stages.persist import check

_CHUNK_BYTES = 2 << 20
_PIECE_BYTES = 1 << 20
_DELIVERY = """
INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes, state,
                      chunk_bytes, splitter_version)
VALUES ('bench', '2026-01-02', 'transactions', 'b', $1, '', '', now(), 0, 'splitting', 1, 1) RETURNING delivery_id
"""

Parts = dict[str, float]
Chunk = tuple[ChunkMetadata, bytes]
Checked = Sequence[tuple[ChunkMetadata, CheckedChunk]]
Store = Callable[[Database, Checked], Awaitable[None]]


def main() -> int:
    """Run the rounds; 1 when rows were missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with fresh_site() as (site, folder):
        path = folder / "transactions.csv"
        oracle = write_transactions(path, rows=options.rows)
        rounds = [_round(site, path.read_bytes(), oracle, number) for number in range(options.rounds)]
    parts = {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}
    print(f"promises processor_s={parts} (rows {options.rows:,}, rounds {options.rounds})")
    keep_result("promises", {"id": "promises", "rows": options.rows, "processor_s": parts, "rounds": rounds})
    return 0


def _round(site: Site, content: bytes, oracle: Oracle, number: int) -> Parts:
    parts: Parts = {}
    make_table(site, "bare")
    with _taking(parts, "cutting between records"):
        pieces = list(_pieces(content))
    with _taking(parts, "hashing"):
        sha256(content).digest()
        hashes = [sha256(piece.data).hexdigest() for piece in pieces]
    delivery_id = asyncio.run(_registered(site, number))
    header = _header(content)
    chunks = [(_metadata(piece, digest, header, delivery_id), piece.data) for piece, digest in zip(pieces, hashes, strict=True)]
    with _taking(parts, "packing"):
        messages = [encode_chunk(*chunk) for chunk in chunks]
    with _taking(parts, "unpacking"):
        received: list[Chunk] = [decode_chunk(message) for message in messages]
    with _taking(parts, "hashing and checking records"):
        checked = [(metadata, check(metadata, data)) for metadata, data in received]
    for name, store, source in (
        ("one COPY", _at_once, "bare"),
        ("a transaction for each chunk", _by_chunk, "bare"),
        ("as it is stored", _as_it_is, f"row_transactions WHERE delivery_id = {delivery_id}"),
    ):
        parts[f"PostgreSQL: {name}"] = asyncio.run(_stored_s(site, store, checked))
        require_all(site, oracle, source, name="promises")
        site.psql("TRUNCATE bare")
    return parts


@contextmanager
def _taking(parts: Parts, name: str) -> Iterator[None]:
    started = time.process_time()
    yield
    parts[name] = round(time.process_time() - started, 3)


def _pieces(content: bytes) -> Iterator[Piece]:
    start = content.index(b"\n") + 1
    splitter = RecordSplitter(chunk_bytes=_CHUNK_BYTES, byte_offset=start, first_line=2)
    for at in range(start, len(content), _PIECE_BYTES):
        yield from splitter.feed(content[at : at + _PIECE_BYTES])
    yield from splitter.finish()


def _header(content: bytes) -> Header:
    header = read_header(content[:1024], entity=all_entities()["transactions"], at_end=False)
    if header is None:
        sys.exit("promises FAIL: there is no header")
    return header


def _metadata(piece: Piece, digest: str, header: Header, delivery_id: int) -> ChunkMetadata:
    return ChunkMetadata(
        tenant="bench",
        business_date=date(2026, 1, 2),
        delivery_id=delivery_id,
        entity="transactions",
        index=piece.index,
        byte_offset=piece.byte_offset,
        byte_length=piece.byte_length,
        first_line=piece.first_line,
        sha256=digest,
        columns=header.columns,
        header=header.raw,
    )


async def _registered(site: Site, number: int) -> int:
    database = _database(site)
    try:
        async with database.connection() as connection:
            delivery_id: int = await connection.fetchval(_DELIVERY, str(number))
            return delivery_id
    finally:
        await database.close()


def _database(site: Site) -> Database:
    url = site.stack.environment()["DATAHARVEST_DATABASE_URL"]
    return Database(url, pool_size=1, application_name="benchmark")


async def _stored_s(site: Site, store: Store, checked: Checked) -> float:
    """Processor seconds of the one session that stores them."""
    database = _database(site)
    try:
        async with database.connection() as connection:
            session = psutil.Process(connection.get_server_pid())
        before = session.cpu_times()
        await store(database, checked)
        after = session.cpu_times()
        return round(after.user + after.system - before.user - before.system, 3)
    finally:
        await database.close()


async def _at_once(database: Database, checked: Checked) -> None:
    async with database.transaction() as connection:
        await _copy(connection, checked[0][1], (one.copy_text for _, one in checked))


async def _by_chunk(database: Database, checked: Checked) -> None:
    for _, one in checked:
        async with database.transaction() as connection:
            await _copy(connection, one, iter([one.copy_text]))


async def _as_it_is(database: Database, checked: Checked) -> None:
    chunks = PostgresChunks(database)
    for offset, (metadata, one) in enumerate(checked):
        if await chunks.persist(metadata, one, position=Position("chunks", 0, offset)) is not ChunkOutcome.STORED:
            sys.exit("promises FAIL: a chunk was not stored")


async def _copy(connection: Connection, like: CheckedChunk, texts: Iterator[bytes]) -> None:
    async def source() -> AsyncIterator[bytes]:
        for text in texts:
            yield text

    await connection.copy_to_table(
        "bare", source=source(), columns=list(like.copy_columns), format="text", delimiter=",", null=""
    )


if __name__ == "__main__":
    sys.exit(main())
