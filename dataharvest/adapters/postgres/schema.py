"""The schema: migrated by `dataharvest migrate`, and checked by every worker before it starts."""

from collections.abc import Iterator

from dataharvest.adapters.postgres.connection import Connection, Database
from dataharvest.entities import Entity, all_entities
from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.sql import MIGRATIONS

# COPY can't add a constant column; the persisting transaction names its delivery and the default reads it. The function is
# declared immutable, which it is for as long as one COPY lasts: COPY then calls it once, not for every row, which would take a
# fifth of its time. Only for COPY, which is planned anew each time: the stored plan of an INSERT would keep the first answer.
_DELIVERY_BEING_LOADED = """
CREATE OR REPLACE FUNCTION delivery_being_loaded() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT current_setting('dataharvest.delivery_id')::bigint $$
"""

BY_DELIVERY = "delivery_id int8_bloom_ops (n_distinct_per_range = 600, false_positive_rate = 0.05), delivery_id int8_minmax_ops"
"""Columns of the index by which rows of a delivery are found (ADR 27).

A filter for each range finds a delivery whatever lies between its rows; the least and the greatest number answer whoever looks
for ranges that the index knows nothing of. The order counts: PostgreSQL asks the first column whose class knows the operator.
Not `int8_minmax_multi_ops`: that loses rows that come while their range is summarised, in PostgreSQL 18.4 each of them. A filter
of this size is 484 bytes for some 12,000 rows; more than 510 would be compressed, and unpacked by every query. The filter is
asked only where a bigint is compared: a number that is written into a query is an integer unless it is cast.
"""

_STATISTICS_TARGET = 20
"""A fifth of PostgreSQL's own. A table into which a large file is loaded is analyzed every few seconds, each time for as long
as it takes to load 100,000 rows. Whatever is asked of rows names a delivery, and that its rows lie together a sample of 6,000
says as well as one of 30,000."""

_VACUUM_SETTINGS = ", ".join(
    (
        "autovacuum_vacuum_cost_delay = 0",
        "autovacuum_vacuum_insert_scale_factor = 0",
        "autovacuum_vacuum_insert_threshold = 2000000",
    )
)
"""Vacuums of new rows that are short, however large the table is. While one runs nobody can tell the index of what is loaded, so
a share of a large table, gone through at the pace that PostgreSQL keeps by default, has small sets read all that a large file
adds for a minute. In all no more is read: each page once after it was filled."""


def index_by_delivery(entity: Entity) -> str:
    """Name of the index by which rows of a delivery are found; who changes `BY_DELIVERY` changes it too, or none is made anew."""
    return f"{entity.table}_by_delivery"


def row_table_ddl(entity: Entity) -> Iterator[str]:
    """Statements that make the table of an entity's rows, or add the columns it lacks.

    No key is kept while rows are loaded: the ledger is what keeps a chunk from being stored twice. Rows of a delivery lie
    together, so a BRIN index finds them at almost no cost.
    """
    yield _DELIVERY_BEING_LOADED
    yield f"CREATE TABLE IF NOT EXISTS {entity.table} (delivery_id bigint NOT NULL)"
    yield f"ALTER TABLE {entity.table} ALTER COLUMN delivery_id SET DEFAULT delivery_being_loaded()"
    for column in entity.columns:
        yield f"ALTER TABLE {entity.table} ADD COLUMN IF NOT EXISTS {column.name} {column.kind.value}"
    for name in ("delivery_id", *(column.name for column in entity.columns)):
        yield f"ALTER TABLE {entity.table} ALTER COLUMN {name} SET STATISTICS {_STATISTICS_TARGET}"
    index = index_by_delivery(entity)
    yield f"CREATE INDEX IF NOT EXISTS {index} ON {entity.table} USING brin ({BY_DELIVERY})"
    yield f"DROP INDEX IF EXISTS {entity.table}_of_delivery"
    # Workers see to it themselves (`Summaries`). A server that is asked to waits for a vacuum, and cancels it after a second.
    yield f"ALTER INDEX {index} SET (autosummarize = off)"
    yield f"ALTER TABLE {entity.table} SET ({_VACUUM_SETTINGS})"


def known_revisions() -> list[str]:
    """The revisions that this version of the program knows, oldest first.

    The files of the migrations are named after them. Alembic knows it too, but every command asks, and to import it takes
    longer than most commands do.
    """
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def head_revision() -> str:
    """The revision that this version of the program needs."""
    return known_revisions()[-1]


async def migrate(url: str) -> tuple[str | None, str]:
    """Bring the schema to this version's; returns the revision before and after.

    Raises:
        Unavailable: PostgreSQL is not there.
        Misconfigured: the schema is newer than this version, or may not be changed.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection as Migrating
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    before = await current_revision(url)
    _require_known(before)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))

    def upgrade(connection: Migrating) -> None:
        # Two operators may migrate at once; the second waits and finds nothing to do.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('dataharvest migrate'))")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        for entity in all_entities().values():
            for statement in row_table_ddl(entity):
                connection.exec_driver_sql(statement)

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(f"PostgreSQL: the connection was lost while migrating: {error.orig}") from error
        raise Misconfigured(f"The schema can't be migrated, and is as it was: {error.orig}") from error
    finally:
        await engine.dispose()
    return before, head_revision()


async def current_revision(url: str) -> str | None:
    """Revision of the schema in the database; None when it was never migrated."""
    database = Database(url, pool_size=1, application_name="dataharvest migrate")
    try:
        async with database.connection() as connection:
            return await _revision(connection)
    finally:
        await database.close()


async def require_current_schema(database: Database) -> None:
    """Raise Misconfigured, saying what to run, unless the schema is the one this version needs."""
    async with database.connection() as connection:
        revision = await _revision(connection)
        _require_known(revision)
        if revision != head_revision():
            at, needed = revision or "nothing", head_revision()
            raise Misconfigured(f"The database schema is at {at}, this version needs {needed}: run `dataharvest migrate`.")
        rows = await connection.fetch(
            "SELECT table_name || '.' || column_name AS name FROM information_schema.columns "
            "WHERE table_schema = current_schema() "
            "UNION ALL SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = current_schema()"
        )
    present = {row["name"] for row in rows}
    entities = all_entities().values()
    wanted = {f"{one.table}.{column.name}" for one in entities for column in one.columns}
    wanted |= {f"index {index_by_delivery(one)}" for one in entities}
    if missing := sorted(wanted - present):
        raise Misconfigured(f"The database lacks {', '.join(missing)}: run `dataharvest migrate`.")


async def _revision(connection: Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision


def _require_known(revision: str | None) -> None:
    if revision is not None and revision not in known_revisions():
        raise Misconfigured(
            f"The database schema is at {revision}, which is newer than this version of dataharvest: install the newer version."
        )
