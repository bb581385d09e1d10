"""What a migration makes of rows that an older version left."""

import asyncio
from collections.abc import Iterator
from datetime import date
from uuid import uuid4

import asyncpg
import polars as pl
import pytest

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.schema import known_revisions, migrate
from dataharvest.adapters.postgres.work import PostgresWork
from dataharvest.messages import Batch
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
INSERT INTO link (set_version_id, client_reference, portfolio_reference, account_number)
SELECT 2, gen_random_uuid(), ('b0000000-0000-4aaa-8bbb-' || lpad(n::text, 12, '0'))::uuid, n::text FROM generate_series(1, 40) n;
-- Of the first slice, by reference.
INSERT INTO value (set_version_id, transformer, logic_version, batch_index, reference, fields)
SELECT 2, 'transactions', 1, 0, portfolio_reference, '{}' FROM link
WHERE abs(hashtext(portfolio_reference::text)::bigint) % 2 = 0;
INSERT INTO value (set_version_id, transformer, logic_version, batch_index, reference, fields) VALUES
    (2, 'tax', 1, 0, gen_random_uuid(), '{}');
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


async def test_no_portfolio_is_left_out_of_what_was_computed_in_part(old_database: str) -> None:
    old = await rows(old_database, "SELECT count(*) FROM value WHERE transformer = 'transactions'")
    assert 0 < int(str(old[0][0])) < 40
    await migrate(old_database)
    database = Database(old_database, pool_size=2, application_name="upgrade")
    try:
        for index in range(2):
            await _compute_unless_computed(PostgresWork(database), index)
    finally:
        await database.close()
    query = "SELECT {0} FROM {1} WHERE set_version_id = 2 {2} ORDER BY 1"
    computed = await rows(old_database, query.format("reference", "value", "AND transformer = 'transactions'"))
    assert computed == await rows(old_database, query.format("portfolio_reference", "link", ""))
    assert len(computed) == 40


async def _compute_unless_computed(work: PostgresWork, index: int) -> None:
    batch = Batch(tenant="acme", business_date=date(2026, 1, 2), version=2, rule="transactions", batch=index, batch_count=2)
    async with work.open_batch(batch) as locked:
        assert locked is not None
        if locked.opened.computed:
            return
        frames = await locked.frames({"portfolios": ("portfolio_reference",)}, per="portfolio")
        references = frames["portfolios"]["portfolio_reference"]
        assert 0 < references.len() < 40
        values = pl.DataFrame({"reference": references, "fields": ["{}"] * references.len()})
        await locked.store_values(values, transformer="transactions", logic_version=1)
        await locked.mark_computed()


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


OLD_INDEX = """
CREATE TABLE row_transactions (delivery_id bigint NOT NULL);
CREATE INDEX row_transactions_of_delivery ON row_transactions USING brin (delivery_id int8_minmax_multi_ops)
"""


async def test_the_index_that_loses_rows_is_replaced(old_database: str) -> None:
    await _execute(old_database, OLD_INDEX)
    await migrate(old_database)
    assert await rows(old_database, "SELECT indexname FROM pg_indexes WHERE tablename = 'row_transactions'") == [
        ("row_transactions_by_delivery",)
    ]


OLD_ROWS = """
CREATE TABLE row_transactions (delivery_id bigint NOT NULL, keyword text);
CREATE TABLE row_of_a_plugin (delivery_id bigint NOT NULL, keyword text);
CREATE VIEW row_seen AS TABLE row_of_a_plugin LIMIT 1;
INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes,
                      chunk_bytes, splitter_version, state, removed_at, chunk_count)
SELECT 'acme', '2026-01-02', 'transactions', '', name, '', '', now(), 1, 1, 1, state, removed_at, chunk_count
FROM (VALUES ('removed', 'superseded', now(), 1), ('replaced', 'superseded', NULL, 1),
             ('replaced early', 'superseded', NULL, NULL), ('repeat', 'repeat', NULL, 1),
             ('rejected', 'rejected', NULL, 1), ('abandoned', 'abandoned', NULL, NULL),
             ('registered', 'registered', NULL, NULL), ('waiting', 'waiting', NULL, NULL), ('loading', 'splitting', NULL, NULL),
             ('sealed', 'sealed', NULL, 1), ('judging', 'judging', NULL, 1), ('complete', 'complete', NULL, 1))
     AS old (name, state, removed_at, chunk_count);
INSERT INTO row_transactions SELECT delivery_id, object_key FROM delivery, generate_series(1, 3000);
INSERT INTO row_of_a_plugin TABLE row_transactions;
CREATE INDEX old_index ON row_of_a_plugin USING brin (delivery_id int8_minmax_multi_ops);
ANALYZE
"""
NEEDED = ("complete", "judging", "loading", "registered", "replaced", "sealed", "waiting")


async def test_rows_left_of_deliveries_that_were_removed_go_and_no_other(old_database: str) -> None:
    await _execute(old_database, OLD_ROWS)
    await migrate(old_database)
    for table in ("row_transactions", "row_of_a_plugin"):
        left = await rows(old_database, f"SELECT keyword, count(*) FROM {table} GROUP BY 1 ORDER BY 1")
        assert left == [(name, 3000) for name in NEEDED]


async def test_an_index_that_may_have_lost_rows_is_not_asked_for_them(old_database: str) -> None:
    await _execute(old_database, OLD_ROWS)
    # As if the planner thought it best.
    for name in ("enable_hashjoin", "enable_mergejoin", "enable_seqscan"):
        await _execute(old_database, f"ALTER DATABASE {old_database.rpartition('/')[2]} SET {name} = off")
    await migrate(old_database)
    asked = await rows(old_database, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'old_index'")
    assert asked == [(0,)]
    left = await rows(old_database, "SELECT count(*) FROM row_of_a_plugin")
    assert left == [(3000 * len(NEEDED),)]


CARRYING = """
UPDATE alembic_version SET version_num = '0017';
INSERT INTO business_set (tenant, business_date)
SELECT name, '2026-01-02' FROM unnest(ARRAY['going', 'held', 'first', 'out']) AS name;
INSERT INTO set_version (tenant, business_date, version, state)
SELECT tenant, business_date, 1, 'published' FROM business_set WHERE tenant IN ('going', 'held', 'out');
INSERT INTO set_version (tenant, business_date, version, state, base_version_id)
SELECT tenant, business_date, 2, second.state, set_version_id
FROM set_version v JOIN (VALUES ('going', 'open'), ('held', 'blocked'), ('out', 'published')) AS second (tenant, state)
     USING (tenant);
INSERT INTO set_version (tenant, business_date, version, state) VALUES ('first', '2026-01-02', 1, 'open')
"""


async def test_versions_under_way_that_take_over_what_was_made_before_are_due_anew(old_database: str) -> None:
    await migrate(old_database)
    await _execute(old_database, CARRYING)
    await migrate(old_database)
    editions = await rows(old_database, "SELECT tenant, edition FROM business_set WHERE tenant <> 'acme' ORDER BY 1")
    assert editions == [("first", 0), ("going", 1), ("held", 1), ("out", 0)]
