"""Replays in PostgreSQL: what was begun, and how far it is."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.replaying.requests import Part, Replay, Request
from dataharvest.sql import queries

_SQL = queries("replays")


class PostgresReplays:
    """The port ``Replays`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def alone(self, topic: str) -> AsyncIterator[bool]:
        """See the port."""
        async with self._database.session() as connection:
            # The session holds it: it goes with the process, however that ends, and at the end of the block.
            yield await connection.fetchval(_SQL["try_alone"], topic)

    async def begin(self, request: Request, parts: Sequence[Part], *, by: str) -> Replay:
        """See the port."""
        columns = [list(column) for column in zip(*((one.number, one.start, one.stop) for one in parts), strict=True)]
        content = request.model_dump(mode="json", exclude_none=True)
        async with self._database.transaction() as connection:
            replay_id = await connection.fetchval(_SQL["begin"], request.topic, content, by)
            await connection.execute(_SQL["add_parts"], replay_id, *(columns or ([], [], [])))
            [replay] = await _read(connection, replay_id)
        return replay

    async def find(self, replay_id: int) -> Replay | None:
        """See the port."""
        async with self._database.connection() as connection:
            return next(iter(await _read(connection, replay_id)), None)

    async def newest(self) -> list[Replay]:
        """See the port."""
        async with self._database.connection() as connection:
            return await _read(connection, None)

    async def save(self, replay_id: int, *, next_by_part: Mapping[int, int], sent_count: int, sent_bytes: int) -> None:
        """See the port."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["save"], replay_id, sent_count, sent_bytes)
            await connection.execute(_SQL["save_parts"], replay_id, list(next_by_part), list(next_by_part.values()))

    async def end(self, replay_id: int) -> None:
        """See the port."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["end"], replay_id)


async def _read(connection: Connection, replay_id: int | None) -> list[Replay]:
    rows = await connection.fetch(_SQL["find"], replay_id)
    parts = await connection.fetch(_SQL["parts"], [row["replay_id"] for row in rows])
    return [_replay(row, (one for one in parts if one["replay_id"] == row["replay_id"])) for row in rows]


def _replay(row: Any, parts: Iterable[Any]) -> Replay:
    return Replay(
        replay_id=row["replay_id"],
        request=Request.model_validate(row["request"]),
        parts=tuple(Part(one["part"], one["start_index"], one["stop_index"], one["next_index"]) for one in parts),
        by_whom=row["by_whom"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        sent_count=row["sent_count"],
        sent_bytes=row["sent_bytes"],
    )
