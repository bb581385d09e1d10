-- {table} is an entity's table.

-- name: block_counts
-- $1: tables.
SELECT name, pg_relation_size(name::regclass) / current_setting('block_size')::bigint AS block_count FROM unnest($1::text[]) AS name

-- name: lock
-- Nothing waits here: another worker may be at it, or a vacuum. One that is waited for for a second is cancelled, and leaves a range half told.
LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT

-- name: summarize
-- From block $1 to block $2, every range of $3 blocks that the index knows nothing of.
SELECT count(brin_summarize_range('{table}_of_delivery', block)) FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS block

-- name: summarize_anew
SELECT count(brin_desummarize_range('{table}_of_delivery', block)), count(brin_summarize_range('{table}_of_delivery', block))
FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS block

-- name: use_the_index
SELECT set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)

-- name: explain_unknown
-- No delivery has such a number, so what this has to read is what the index can't tell of.
EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT count(*) FROM {table} WHERE delivery_id < 0
