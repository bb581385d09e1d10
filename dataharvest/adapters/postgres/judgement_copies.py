"""Copies of natural keys in a delivery under judgement: found, judged by the contract's rule, and read again, step by step."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.judgement_decision import Counted, Decision
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
_NAMED_COLUMNS = ("delivery_id", "chunk_index", "position", "natural_key", "line", "byte_offset", "raw", "byte_length")
_WINNERS: dict[DuplicateRule, tuple[str, str]] = {
    "reject": ("NULL::integer", "0"),
    "first_wins": ("k.first_chunk", "k.first_count"),
    "last_wins": ("k.last_chunk", "k.last_count"),
}
"""By rule, of a key ``k``: the chunk of the copy that wins, and how many copies are in it."""
_IN_BLOCKS = "AND r.ctid >= $3 AND r.ctid < $4"


class CopyQueries:
    """The queries about one delivery's copies, in a transaction that holds the delivery's row."""

    def __init__(self, connection: Connection, entity: Entity, delivery_id: int, *, hashing: KeyHashing) -> None:
        self.connection = connection
        self.entity = entity
        self.delivery_id = delivery_id
        self.rule: DuplicateRule = "reject"
        self._hashing = hashing

    async def set(self, *names: str) -> None:
        """Let the transaction's statements be planned so."""
        await self.connection.execute(";\n".join(_SQL[name] for name in names))

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
        """Its text for the delivery's entity, under the rule."""
        winner_chunk, winner_count = _WINNERS[self.rule]
        query = _SQL[name].replace("{winner_chunk}", winner_chunk).replace("{winner_count}", winner_count)
        query = query.replace("{hash}", self._hashing.of(self.entity)).replace("{totals}", row_totals(self.entity))
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
        await self._run.connection.fetchval(self._run.query("find").replace("{range}", ""), self._run.delivery_id, suspects)

    async def find_in(self, suspects: Suspects, start: int, stop: int) -> int:
        """Find those between two blocks; how many rows with such a hash there are."""
        await self._run.set("room", "by_hash")
        query = self._run.query("find").replace("{range}", _IN_BLOCKS)
        places = (start, 0), (stop, 0)
        return int(await self._run.connection.fetchval(query, self._run.delivery_id, suspects, *places))

    async def are_whole(self, count: int) -> bool:
        """Whether as many are kept as were found."""
        tally = await self._run.fetchrow("tally")
        return bool(count == tally["row_count"] == await self._run.fetchval("count"))

    async def decide(self, rule: DuplicateRule, counted: Counted) -> Decision:
        """Decide what becomes of each, once all are found.

        Raises:
            Rejected: it cannot be told any more which chunk a row came from.
        """
        tally = await self._run.fetchrow("tally")
        if tally["any_unknown_chunk"]:
            raise rows_without_chunk()
        await self._run.execute("decide", rule, tally["copy_count"], counted.count, counted.sums, *counted.blocks)
        decision = await self.decision()
        assert decision is not None, "it was stored just now"
        return decision

    async def add_readings(self) -> None:
        """Note which chunks have to be read again, once it is decided by what rule copies go."""
        await self._run.set("any_plan", "room", "by_hash")
        await self._run.execute("list_keys", LISTED_KEYS)
        await self._run.execute("add_readings", LISTED_COPIES)
        await self._run.execute("readings_are_known")

    async def decision(self) -> Decision | None:
        """What was decided in this step or one before it."""
        row = await self._run.fetchrow("decision")
        if row is None:
            return None
        self._run.rule = row["rule"]
        return Decision.of(row)

    async def to_read(self, at_most: int | None) -> list[ChunkPlace]:
        """The first of the chunks that have still to be read again, in order; all, if None is the most."""
        await self._run.set("any_plan", "by_place")
        return [ChunkPlace(*row) for row in await self._run.fetch("chunks_to_read", at_most)]

    async def keys_in(self, index: int) -> set[str]:
        """Natural keys to look for in a chunk that has to be read again."""
        return {row["natural_key"] for row in await self._run.fetch("listed_in_chunk", index)} | await self._ambiguous_in(index)

    async def settle(self, index: int, copies: Sequence[Copy], *, check: Callable[[bytes], CheckedChunk]) -> None:
        """Keep what was found in a chunk: the copies that may be named, and the rows to store for the winners."""
        await self._keep_named(index, copies)
        ambiguous = await self._ambiguous_in(index)
        # Of a dictionary's values for one key the last one stays.
        in_turn = copies if self._run.rule == "last_wins" else reversed(copies)
        winners = {one.natural_key: one for one in in_turn if one.natural_key in ambiguous}
        columns, text = [], b""
        if winners:
            rows = check(b"".join(one.raw + b"\n" for one in winners.values()))
            columns, text = list(rows.copy_columns), rows.copy_text
        await self._run.execute("keep_reading", index, sorted(ambiguous - winners.keys()), columns, text)

    async def _ambiguous_in(self, index: int) -> set[str]:
        return {row["natural_key"] for row in await self._run.fetch("ambiguous_in_chunk", index)}

    async def _keep_named(self, index: int, copies: Sequence[Copy]) -> None:
        if self._listed is None:
            self._listed = {row["natural_key"] for row in await self._run.fetch("listed_keys")}
        counts: Counter[str] = Counter()
        records = []
        for one in copies:
            counts[one.natural_key] += 1
            if one.natural_key in self._listed and counts[one.natural_key] <= LISTED_COPIES:
                kept = one.remembered()
                place = one.line, one.byte_offset, kept.raw, one.byte_length
                records.append((self._run.delivery_id, index, one.position, one.natural_key, *place))
        if records:
            await self._run.connection.copy_records_to_table("judgement_named", records=records, columns=_NAMED_COLUMNS)


def rows_without_chunk() -> Rejected:
    """Nobody can tell any more which chunk a row came from."""
    message = "The database was restored while the file was being read: it must be uploaded again."
    return Rejected(message, rule="rows_without_chunk")
