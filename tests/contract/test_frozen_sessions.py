"""A worker that froze with a transaction open holds nobody up for ever: its session is found and ended."""

import asyncio

import asyncpg
import pytest

from dataharvest.adapters.postgres.connection import Database, translated
from dataharvest.adapters.postgres.frozen import FrozenSessions, end_frozen_sessions
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.errors import Unavailable
from dataharvest.sql import queries

LAPSED = """
    INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes,
                          state, chunk_bytes, splitter_version, lease_owner, lease_until)
    VALUES ('frozen', '2026-11-23', 'accounts', 'b', 'frozen/accounts_20261123.csv', 'v', 'e', now(), 1,
            'splitting', 100, 1, 'worker-frozen', now() - interval '1 minute')
    RETURNING delivery_id
"""
LOCK = "SELECT pg_advisory_xact_lock(4711)"


def test_the_third_refusal_within_two_minutes_is_one_too_many_and_the_count_begins_anew() -> None:
    now = [0.0]
    frozen = FrozenSessions(lambda: now[0])

    answers = []
    for moment in (0, 5, 200, 205, 210, 215, 220):
        now[0] = float(moment)
        answers.append(frozen.refused())

    assert answers == [False, False, False, False, True, False, False]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = queries("operations")["end_frozen_sessions"].replace("30 seconds", "0.2 seconds")
    monkeypatch.setitem(queries("operations"), "end_frozen_sessions", quick)


async def test_only_sessions_that_are_silent_in_a_transaction_are_ended(stack_environment: dict[str, str]) -> None:
    url = stack_environment["DATAHARVEST_DATABASE_URL"]
    frozen, stranger, idle = [
        await asyncpg.connect(url, server_settings={"application_name": name})
        for name in ("dataharvest worker-frozen", "psql", "dataharvest worker-idle")
    ]
    database = Database(url, pool_size=2, application_name="dataharvest worker-awake")
    try:
        for connection in (frozen, stranger):
            await connection.execute("BEGIN")
        await frozen.execute(LOCK)
        await asyncio.sleep(0.3)

        async with database.connection() as awake:
            assert await end_frozen_sessions(awake) == 1
            await awake.execute(LOCK)
        assert await stranger.fetchval("SELECT 1") == await idle.fetchval("SELECT 1") == 1
        # Whichever way the driver finds out, it is an outage.
        with pytest.raises(Unavailable):
            async with translated():
                await frozen.fetchval("SELECT 1")
    finally:
        await database.close()
        for connection in (stranger, idle):
            await connection.close()
        frozen.terminate()


async def test_waiting_in_vain_three_times_ends_the_frozen_session_and_the_fourth_try_gets_the_lock(
    stack_environment: dict[str, str],
) -> None:
    url = stack_environment["DATAHARVEST_DATABASE_URL"]
    frozen = await asyncpg.connect(url, server_settings={"application_name": "dataharvest worker-frozen"})
    database = Database(url, pool_size=2, application_name="dataharvest worker-awake")
    try:
        await frozen.execute("BEGIN")
        await frozen.execute(LOCK)

        for _ in range(3):
            with pytest.raises(Unavailable):
                async with database.transaction() as waiting:
                    await waiting.execute("SET LOCAL lock_timeout = '100ms'")
                    await waiting.execute(LOCK)
        async with database.transaction() as waiting:
            await waiting.execute(LOCK)
    finally:
        await database.close()
        frozen.terminate()


async def test_a_sweep_that_finds_a_lease_lapsed_for_long_ends_the_session_that_holds_its_delivery(
    stack_environment: dict[str, str],
) -> None:
    url = stack_environment["DATAHARVEST_DATABASE_URL"]
    frozen = await asyncpg.connect(url, server_settings={"application_name": "dataharvest worker-frozen"})
    database = Database(url, pool_size=2, application_name="dataharvest worker-awake")
    try:
        delivery_id = await frozen.fetchval(LAPSED)
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT FROM delivery WHERE delivery_id = $1 FOR SHARE", delivery_id)
        await asyncio.sleep(0.3)

        assert await PostgresSweepState(database).wake_for_unread() > 0

        async with database.transaction() as awake:
            # The server ends a session a moment after it was told to: whoever wants its lock waits for that moment.
            await awake.execute("SET LOCAL lock_timeout = '10s'")
            await awake.execute(
                "UPDATE delivery SET state = 'abandoned', announced_at = now() WHERE delivery_id = $1", delivery_id
            )
    finally:
        await database.close()
        frozen.terminate()
