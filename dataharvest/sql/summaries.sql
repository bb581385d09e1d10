-- {table} is an entity's table.

-- name: block_counts
-- $1: tables.
SELECT name, pg_relation_size(name::regclass) / current_setting('block_size')::bigint AS block_count FROM unnest($1::text[]) AS name

-- name: is_free
-- Whether the table can be had: neither another worker is at it nor a vacuum.
SELECT pg_try_advisory_xact_lock(hashtext('dataharvest summaries'), hashtext('{table}')) AND NOT EXISTS (
    SELECT FROM pg_locks
    WHERE relation = '{table}'::regclass AND granted
      AND mode IN ('ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))

-- name: lock
-- A vacuum that came meanwhile is not waited for: after a second that would cancel it, and leave a range half told.
LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT

-- name: summarize
-- From block $1 to block $2, every range of $3 blocks that the index knows nothing of.
SELECT count(brin_summarize_range('{table}_by_delivery', block)) FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS block

-- name: summarize_anew
SELECT count(brin_desummarize_range('{table}_by_delivery', block)), count(brin_summarize_range('{table}_by_delivery', block))
FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS block

-- name: use_the_index
SELECT set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)

-- name: explain_unknown
-- No delivery has such a number, so what this has to read is what the index can't tell of.
EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT count(*) FROM {table} WHERE delivery_id < 0
