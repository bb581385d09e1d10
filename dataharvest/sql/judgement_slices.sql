-- {table} is the entity's table, {layout} what changes when its rows may have moved.

-- name: lock_table
-- Until this transaction ends nothing writes the table anew, and no row moves.
LOCK TABLE {table} IN ACCESS SHARE MODE

-- name: progress
SELECT coalesce(sum(record_count), 0)::bigint AS record_count, max(stop_block) AS stop_block,
       coalesce(bool_and(table_layout = {layout}), true) AS is_as_it_was,
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
INSERT INTO judgement_slice (delivery_id, first_block, stop_block, table_layout, record_count, sums, first_row_block, last_row_block,
                             hashes, cuts, suspect_count)
VALUES ($1, $2, $3, {layout}, $4, $5, $6, $7, $8, $9, $10)

-- name: merged
SELECT sum(record_count)::bigint AS count, min(first_row_block) AS first_block, max(last_row_block) AS last_block,
       sum(suspect_count)::bigint AS suspect_count,
       (SELECT coalesce(jsonb_object_agg(name, total), '{}') FROM (
            SELECT one.name, sum(one.value::numeric)::text AS total
            FROM judgement_slice s, jsonb_each_text(s.sums) AS one (name, value)
            WHERE s.delivery_id = $1 GROUP BY one.name) total) AS sums
FROM judgement_slice WHERE delivery_id = $1

-- name: cuts
SELECT first_block, cuts, merged_part_count, suspect_count FROM judgement_slice WHERE delivery_id = $1 ORDER BY first_block

-- name: note_merged
UPDATE judgement_slice SET merged_part_count = $2
WHERE delivery_id = $1 AND first_block = (SELECT min(first_block) FROM judgement_slice WHERE delivery_id = $1)

-- name: add_suspects
UPDATE judgement_slice SET suspects = suspects || $3, suspect_count = suspect_count + $4 WHERE delivery_id = $1 AND first_block = $2

-- name: hashes
-- Those of the parts from $2 to before $3.
SELECT substring(hashes FROM 1 + 8 * cuts[$2::integer + 1] FOR 8 * (cuts[$3::integer + 1] - cuts[$2::integer + 1]))
FROM judgement_slice WHERE delivery_id = $1 ORDER BY first_block

-- name: next_to_search
SELECT first_block, coalesce(searched_block, first_row_block) AS next_block, last_row_block + 1 AS stop_block, record_count,
       suspect_count
FROM judgement_slice
WHERE delivery_id = $1 AND suspect_count > 0 AND searched_block IS DISTINCT FROM last_row_block + 1 ORDER BY first_block LIMIT $2

-- name: suspects
SELECT suspects FROM judgement_slice WHERE delivery_id = $1 AND first_block = $2

-- name: note_searched
UPDATE judgement_slice SET searched_block = $3, copy_count = coalesce(copy_count, 0) + $4 WHERE delivery_id = $1 AND first_block = $2

-- name: copy_count
SELECT coalesce(sum(copy_count), 0)::bigint FROM judgement_slice WHERE delivery_id = $1

-- name: forget_slices
DELETE FROM judgement_slice WHERE delivery_id = $1
