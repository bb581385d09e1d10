"""Copies of natural keys in a delivery under judgement: found, judged by the contract's rule, and read again, step by step."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.key_hashes import KeyHashing, Suspects
from dataharvest.adapters.postgres.sums import money_columns, row_totals
from dataharvest.contracts.vocabulary import DuplicateRule
from dataharvest.deliveries import ChunkPlace
from dataharvest.entities import Entity
from dataharvest.errors import Rejected
from dataharvest.rules.duplicates import LISTED_COPIES, LISTED_KEYS, Copy
from dataharvest.rules.records import CheckedChunk
from dataharvest.sql import queries

_SQL = queries("judgement_copies")
_NAMED_COLUMNS = ("delivery_id", "chunk_index", "natural_key", "position", "line", "byte_offset", "raw", "byte_length")


class CopyQueries:
    """The queries about one delivery's copies, in a transaction that holds the delivery's row."""

    def __init__(self, connection: Connection, entity: Entity, delivery_id: int, *, hashing: KeyHashing) -> None:
        self.connection = connection
        self.entity = entity
        self.delivery_id = delivery_id
        self._hashing = hashing

    async def set(self, *names: str) -> None:
        """Let the transaction's statements be planned so."""
        for name in names:
            await self.connection.execute(_SQL[name])

    async def execute(self, name: str, *arguments: Any) -> None:
        """Run one of them."""
        await self.connection.execute(self.query(name), self.delivery_id, *arguments)

    async def fetch(self, name: str, *arguments: Any) -> Any:
        """All its rows."""
        return await self.connection.fetch(self.query(name), self.delivery_id, *arguments)

    async def fetchrow(self, name: str, *arguments: Any) -> Any:
        """Its one row."""
        return await self.connection.fetchrow(self.query(name), self.delivery_id, *arguments)

    async def fetchval(self, name: str, *arguments: Any) -> Any:
        """Its one value."""
        return await self.connection.fetchval(self.query(name), self.delivery_id, *arguments)

    def query(self, name: str) -> str:
        """Its text for the delivery's entity."""
        query = _SQL[name].replace("{hash}", self._hashing.of(self.entity)).replace("{totals}", row_totals(self.entity))
        query = query.replace("{money}", ", ".join(money_columns(self.entity) or ["delivery_id"]))
        return query.replace("{table}", self.entity.table).replace("{key}", self.entity.natural_key)


class Copies:
    """The copies of a delivery; what is told of them is kept until the delivery is judged."""

    def __init__(self, run: CopyQueries) -> None:
        self._run = run
        self._listed: set[str] | None = None

    async def find_at_once(self, suspects: Suspects) -> None:
        """Find them in all rows of the delivery, whatever was found before; ``suspects`` are their hashes, None for any."""
        await self._run.set("room", "by_hash")
        await self._run.execute("clear")
        await self._run.execute("find_at_once", suspects)

    async def find_in(self, suspects: Suspects, start: int, stop: int) -> int:
        """Find those between two blocks; how many rows with such a hash there are."""
        await self._run.set("room", "by_hash")
        return int(await self._run.fetchval("find_in_blocks", suspects, (start, 0), (stop, 0)))

    async def drop_single_keys(self) -> None:
        """Drop rows whose key occurs once, once all were searched: two keys may have one hash."""
        await self._run.set("room", "by_hash")
        await self._run.execute("drop_single_keys")

    async def count(self) -> int:
        """How many were found and are kept."""
        return int(await self._run.fetchval("count"))

    async def judge(self, rule: DuplicateRule) -> None:
        """Decide what can be decided from the ledger.

        Raises:
            Rejected: it cannot be told any more which chunk a row came from.
        """
        await self._run.set("room", "by_hash")
        if await self._run.fetchval("any_unknown_chunk"):
            message = "The database was restored while the file was being read: it must be uploaded again."
            raise Rejected(message, rule="rows_without_chunk")
        await self._run.execute("list_keys", LISTED_KEYS)
        if rule != "reject":
            await self._run.execute(rule)

    async def to_read(self) -> list[ChunkPlace]:
        """The chunks that have still to be read again, in order."""
        await self._run.set("room", "by_hash")
        return [ChunkPlace(*row) for row in await self._run.fetch("chunks_to_read", LISTED_COPIES)]

    async def keys_in(self, index: int) -> set[str]:
        """Natural keys to look for in a chunk that has to be read again."""
        return {row["natural_key"] for row in await self._run.fetch("keys_in_chunk", index, LISTED_COPIES)}

    async def settle(
        self, index: int, copies: Sequence[Copy], *, rule: DuplicateRule, check: Callable[[bytes], CheckedChunk]
    ) -> None:
        """Keep what was found in a chunk: the copies that may be named, and the rows to store for the winners."""
        await self._keep_named(index, copies)
        winners = {} if rule == "reject" else await self._winners(index, copies, rule)
        columns, text = [], b""
        if winners:
            rows = check(b"".join(one.raw + b"\n" for one in winners.values()))
            columns, text = list(rows.copy_columns), rows.copy_text
        await self._run.execute("keep_reading", index, list(winners), columns, text)

    async def _winners(self, index: int, copies: Sequence[Copy], rule: DuplicateRule) -> dict[str, Copy]:
        ambiguous = {row["natural_key"] for row in await self._run.fetch("ambiguous_in_chunk", index)}
        # Of a dictionary's values for one key the last one stays.
        in_turn = copies if rule == "last_wins" else reversed(copies)
        return {one.natural_key: one for one in in_turn if one.natural_key in ambiguous}

    async def _keep_named(self, index: int, copies: Sequence[Copy]) -> None:
        if self._listed is None:
            self._listed = {row["natural_key"] for row in await self._run.fetch("listed_keys")}
        counts: Counter[str] = Counter()
        records = []
        for one in copies:
            counts[one.natural_key] += 1
            if one.natural_key in self._listed and counts[one.natural_key] <= LISTED_COPIES:
                kept = one.remembered()
                place = one.natural_key, one.position, one.line, one.byte_offset
                records.append((self._run.delivery_id, index, *place, kept.raw, one.byte_length))
        if records:
            await self._run.connection.copy_records_to_table("judgement_named", records=records, columns=_NAMED_COLUMNS)
