"""Ten thousand sets in a database: what a board has to show at once."""

import asyncpg

TENANTS, DATES = 200, 50
SET_COUNT = TENANTS * DATES

_STATEMENTS = (
    """INSERT INTO business_set (tenant, business_date)
       SELECT 'tenant-' || to_char(t, 'FM000'), date '2026-11-24' - d
       FROM generate_series(1, $1::int) t, generate_series(1, $2::int) d""",
    # Every twentieth set lacks its last file, every thirtieth has a record in quarantine, every fiftieth is being read.
    """INSERT INTO delivery (
           tenant, business_date, entity, bucket, object_key, object_identity, etag, last_modified, size_bytes, state,
           chunk_bytes, splitter_version, chunk_count, record_count, persisted_count, quarantined_count, duplicate_count,
           accepted_count, completed_at)
       SELECT tenant, business_date, entity, 'b', tenant || '/' || entity || to_char(business_date, '_YYYYMMDD') || '.csv',
              'v1', 'e', business_date + interval '1 day', 5000,
              CASE WHEN n % 50 = 7 THEN 'splitting' ELSE 'complete' END, 1048576, 1, 1, 100, 99,
              CASE WHEN n % 30 = 0 AND entity = 'accounts' THEN 1 ELSE 0 END, 0, 0, business_date + interval '1 day'
       FROM (SELECT *, row_number() OVER (ORDER BY tenant, business_date) AS n FROM business_set) s,
            unnest(ARRAY['accounts', 'clients', 'portfolios', 'transactions']) AS entity
       WHERE NOT (n % 20 = 0 AND entity = 'transactions')""",
    """INSERT INTO quarantine (
           delivery_id, chunk_index, position, tenant, line, byte_offset, byte_length, column_name, rule, message, raw)
       SELECT delivery_id, 0, 3, tenant, 5, 80, 9, 'cash_balance', 'money', 'cash_balance is no amount.', '5,1E+5,EUR'
       FROM delivery WHERE quarantined_count > 0""",
    """INSERT INTO set_version (tenant, business_date, version, state, published_at)
       SELECT tenant, business_date, 1, 'published', business_date + interval '1 day' FROM delivery
       GROUP BY 1, 2 HAVING count(*) = 4 AND bool_and(state = 'complete') AND sum(quarantined_count) = 0""",
    """INSERT INTO set_version_delivery (set_version_id, entity, delivery_id)
       SELECT set_version_id, entity, delivery_id FROM set_version JOIN delivery USING (tenant, business_date)""",
    """INSERT INTO fact (set_version_id, name)
       SELECT set_version_id, name
       FROM set_version, unnest(ARRAY['accounts_persisted', 'relation_established', 'tax']) AS name""",
    "UPDATE business_set SET late_at = business_date + interval '31 hours' WHERE extract(day FROM business_date) = 9",
    "ANALYZE",
)


async def fill(url: str, *, dates: int = DATES) -> None:
    """Put them there, directly."""
    connection = await asyncpg.connect(url)
    try:
        for statement in _STATEMENTS:
            await connection.execute(statement, *((TENANTS, dates) if "$1" in statement else ()))
    finally:
        await connection.close()
