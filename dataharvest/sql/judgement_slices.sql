-- {table} is the entity's table, {layout} what changes when its rows may have moved.

-- name: lock_table
-- Until this transaction ends nothing writes the table anew, and no row moves.
LOCK TABLE {table} IN ACCESS SHARE MODE

-- name: progress
SELECT coalesce(sum(record_count), 0)::bigint AS record_count, max(stop_block) AS stop_block,
       coalesce(bool_and(layout = {layout}), true) AS is_as_it_was,
       pg_relation_size('{table}') / current_setting('block_size')::bigint AS block_count
FROM judgement_slice WHERE delivery_id = $1

-- name: by_index
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_tidscan = off;
SET LOCAL max_parallel_workers_per_gather = 0

-- name: first_place
-- What an index of blocks finds is gone through in their order.
SELECT ctid FROM {table} WHERE delivery_id = $1 LIMIT 1

-- name: next_place
SELECT ctid FROM {table} WHERE delivery_id = $1 AND ctid >= $2 LIMIT 1

-- name: by_place
SET LOCAL enable_bitmapscan = off; SET LOCAL enable_tidscan = on

-- name: keep
INSERT INTO judgement_slice (delivery_id, first_block, stop_block, layout, record_count, sums, first_row_block, last_row_block,
                             hashes, cuts)
VALUES ($1, $2, $3, {layout}, $4, $5, $6, $7, $8, $9)

-- name: merged
SELECT sum(record_count)::bigint AS count, min(first_row_block) AS first_block, max(last_row_block) AS last_block,
       (SELECT coalesce(jsonb_object_agg(name, total), '{}') FROM (
            SELECT one.name, sum(one.value::numeric)::text AS total
            FROM judgement_slice s, jsonb_each_text(s.sums) AS one (name, value)
            WHERE s.delivery_id = $1 GROUP BY one.name) total) AS sums
FROM judgement_slice WHERE delivery_id = $1

-- name: cuts
SELECT cuts, merged_part_count, suspects FROM judgement_slice WHERE delivery_id = $1 ORDER BY first_block

-- name: keep_suspects
UPDATE judgement_slice SET merged_part_count = $2, suspects = $3
WHERE delivery_id = $1 AND first_block = (SELECT min(first_block) FROM judgement_slice WHERE delivery_id = $1)

-- name: hashes
-- Those of the parts from $2 to before $3.
SELECT substring(hashes FROM 1 + 8 * cuts[$2::integer + 1] FOR 8 * (cuts[$3::integer + 1] - cuts[$2::integer + 1]))
FROM judgement_slice WHERE delivery_id = $1

-- name: next_to_search
SELECT first_block, stop_block, record_count FROM judgement_slice
WHERE delivery_id = $1 AND copy_count IS NULL ORDER BY first_block LIMIT $2

-- name: note_copies
UPDATE judgement_slice SET copy_count = $3 WHERE delivery_id = $1 AND first_block = $2

-- name: copy_count
SELECT sum(copy_count)::bigint FROM judgement_slice WHERE delivery_id = $1

-- name: decided_count
SELECT max(decided_count) FROM judgement_slice WHERE delivery_id = $1

-- name: decided
UPDATE judgement_slice SET decided_count = $2
WHERE delivery_id = $1 AND first_block = (SELECT min(first_block) FROM judgement_slice WHERE delivery_id = $1)
