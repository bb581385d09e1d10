-- {table} is an entity's table.

-- name: block_counts
-- $1: tables.
SELECT name, pg_relation_size(name::regclass) / current_setting('block_size')::bigint AS block_count FROM unnest($1::text[]) AS name

-- name: summarize
-- From block $1 to block $2; how many ranges were looked at, none when it is nobody's turn here. Nothing waits here: another worker may be at it, or a vacuum, which does the same.
SELECT count(brin_summarize_range('{table}_of_delivery', block))
FROM (SELECT pg_try_advisory_xact_lock(hashtext('dataharvest summaries'), hashtext('{table}')) AND NOT EXISTS (
          SELECT FROM pg_locks
          WHERE relation = '{table}'::regclass AND granted AND pid <> pg_backend_pid()
            AND mode IN ('ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS may
      OFFSET 0) turn,
     generate_series($1::bigint, $2::bigint, $3::bigint) AS block
WHERE turn.may
