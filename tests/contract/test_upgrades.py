"""What a migration makes of rows that an older version left."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import pytest

from dataharvest.adapters.postgres.schema import known_revisions, migrate
from dataharvest.sql import MIGRATIONS, migration_statements

OLD = """
INSERT INTO business_set (tenant, business_date) VALUES ('acme', '2026-01-02');
INSERT INTO set_version (tenant, business_date, version, state) VALUES
    ('acme', '2026-01-02', 1, 'published'), ('acme', '2026-01-02', 2, 'open');
INSERT INTO batch (set_version_id, rule, batch_index, batch_count, sent_at, computed_at, done_at) VALUES
    (1, 'outbound.clients', 0, 1, now(), now(), '2026-01-03'), (1, 'outbound.portfolios', 0, 1, now(), now(), '2026-01-04'),
    (2, 'transactions', 0, 2, now(), now(), now()), (2, 'transactions', 1, 2, now(), NULL, NULL),
    (2, 'tax', 0, 2, now(), now(), now()), (2, 'tax', 1, 2, now(), now(), now());
INSERT INTO outbound (message_id, set_version_id, tenant, business_date, kind, reference, version, batch_index, withdrawn,
                      content_sha256, payload, sent_at)
SELECT gen_random_uuid(), 1, 'acme', '2026-01-02', kind, gen_random_uuid(), 1, 0, false, '', '{}', sent_at
FROM (VALUES ('clients', now()), ('portfolios', now()), ('portfolios', NULL)) AS old (kind, sent_at);
INSERT INTO value (set_version_id, transformer, logic_version, batch_index, reference, fields) VALUES
    (2, 'transactions', 1, 0, gen_random_uuid(), '{}'), (2, 'tax', 1, 0, gen_random_uuid(), '{}');
"""


@pytest.fixture
def old_database(stack_environment: dict[str, str]) -> Iterator[str]:
    """A database as version 0010 left it."""
    server = stack_environment["DATAHARVEST_DATABASE_URL"]
    name = f"upgrade_{uuid4().hex}"
    url = f"{server.rpartition('/')[0]}/{name}"
    older = [one for one in known_revisions() if one <= "0010"]
    files = sorted(path.name for path in MIGRATIONS.glob("*.sql") if path.name[:4] in older)
    statements = [statement for file in files for statement in migration_statements(file)]
    version = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('0010')"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    asyncio.run(_execute(url, *statements, version, OLD))
    yield url
    asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def test_messages_stay_as_sent_or_unsent_as_they_were(old_database: str) -> None:
    await migrate(old_database)
    assert await rows(old_database, "SELECT kind, to_char(sent_at, 'YYYY-MM-DD') FROM outbound ORDER BY kind") == [
        ("clients", "2026-01-03"),
        ("portfolios", None),
        ("portfolios", None),
    ]


async def test_what_was_computed_in_part_is_computed_anew_and_nothing_else(old_database: str) -> None:
    await migrate(old_database)
    counts = "count(sent_at), count(computed_at), count(done_at)"
    query = f"SELECT rule, {counts} FROM batch WHERE set_version_id = 2 GROUP BY rule ORDER BY rule"
    assert await rows(old_database, query) == [("tax", 2, 2, 2), ("transactions", 0, 0, 0)]
    assert await rows(old_database, "SELECT transformer FROM value") == [("tax",)]


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
