-- {table} and {key} are the entity's table and the column of its natural key, {hash} is a hash of it, {money} its columns of money,
-- {totals} their exact sums and the number of rows.

-- name: room
-- Copies are few or the file was doubled by mistake; spilling them to disk costs more than comparing them.
SET LOCAL work_mem = '64MB'

-- name: by_hash
-- Nothing has counted the rows of a delivery that was loaded just now, nor its copies: for the planner they are one, and it may choose to
-- walk through all chunks for each of millions of rows, or to compare every key of a chunk with every other.
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off

-- name: by_place
-- A row is fetched from the place that is known, however many there are.
SET LOCAL enable_nestloop = on; SET LOCAL enable_tidscan = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off

-- name: any_plan
SET LOCAL enable_nestloop = DEFAULT; SET LOCAL enable_tidscan = DEFAULT; SET LOCAL enable_seqscan = DEFAULT;
SET LOCAL enable_bitmapscan = DEFAULT; SET LOCAL enable_hashjoin = DEFAULT; SET LOCAL enable_mergejoin = DEFAULT

-- name: clear
DELETE FROM judgement_copy WHERE delivery_id = $1

-- name: find_at_once
-- A row and the ledger row of its chunk were written by one transaction, so both carry its number in xmin: this says which chunk
-- a row came from without a byte stored per row. It holds until either is written again, or restored from a dump.
-- $2: hashes of the keys that may occur more than once; null for all. Two keys with one hash are told apart here.
WITH copy AS (
    SELECT r.ctid AS place, r.{key} AS natural_key, c.chunk_index, count(*) OVER (PARTITION BY r.{key}) AS copies
    FROM {table} r
    LEFT JOIN (SELECT xmin AS written_by, chunk_index FROM chunk WHERE delivery_id = $1) c ON c.written_by = r.xmin
    WHERE r.delivery_id = $1 AND r.{key} IS NOT NULL AND ($2::bigint[] IS NULL OR {hash} IN (SELECT unnest($2::bigint[]))))
INSERT INTO judgement_copy (delivery_id, place, natural_key, chunk_index)
SELECT $1, place, natural_key::text, chunk_index FROM copy WHERE copies > 1

-- name: find_in_blocks
-- The same, of the blocks from $3 to before $4; whether the key occurs in other blocks as well is not known here.
WITH found AS (
    INSERT INTO judgement_copy (delivery_id, place, natural_key, chunk_index)
    SELECT $1, r.ctid, r.{key}::text, c.chunk_index
    FROM {table} r
    LEFT JOIN (SELECT xmin AS written_by, chunk_index FROM chunk WHERE delivery_id = $1) c ON c.written_by = r.xmin
    WHERE r.delivery_id = $1 AND r.ctid >= $3 AND r.ctid < $4 AND {hash} IN (SELECT unnest($2::bigint[])) RETURNING 1)
SELECT count(*) FROM found

-- name: count
SELECT count(*) FROM judgement_copy WHERE delivery_id = $1

-- name: drop_single_keys
DELETE FROM judgement_copy WHERE delivery_id = $1 AND natural_key IN (
    SELECT natural_key FROM judgement_copy WHERE delivery_id = $1 GROUP BY natural_key HAVING count(*) = 1)

-- name: any_unknown_chunk
SELECT EXISTS (SELECT FROM judgement_copy WHERE delivery_id = $1 AND chunk_index IS NULL)

-- name: list_keys
UPDATE judgement_copy d SET nth = n.nth
FROM (SELECT place, row_number() OVER (PARTITION BY natural_key ORDER BY chunk_index, place) AS nth
      FROM judgement_copy WHERE delivery_id = $1 AND natural_key IN (
          SELECT natural_key FROM judgement_copy WHERE delivery_id = $1
          GROUP BY natural_key ORDER BY min(chunk_index), natural_key LIMIT $2)) n
WHERE d.delivery_id = $1 AND d.place = n.place

-- name: first_wins
UPDATE judgement_copy d
SET fate = CASE WHEN d.chunk_index <> w.chunk_index THEN 'duplicate' WHEN w.copies = 1 THEN 'keep' ELSE 'ambiguous' END
FROM (SELECT DISTINCT ON (natural_key) natural_key, chunk_index, count(*) AS copies
      FROM judgement_copy WHERE delivery_id = $1 GROUP BY natural_key, chunk_index ORDER BY natural_key, chunk_index) w
WHERE d.delivery_id = $1 AND w.natural_key = d.natural_key

-- name: last_wins
UPDATE judgement_copy d
SET fate = CASE WHEN d.chunk_index <> w.chunk_index THEN 'duplicate' WHEN w.copies = 1 THEN 'keep' ELSE 'ambiguous' END
FROM (SELECT DISTINCT ON (natural_key) natural_key, chunk_index, count(*) AS copies
      FROM judgement_copy WHERE delivery_id = $1 GROUP BY natural_key, chunk_index ORDER BY natural_key, chunk_index DESC) w
WHERE d.delivery_id = $1 AND w.natural_key = d.natural_key

-- name: chunks_to_read
SELECT chunk_index, byte_offset, byte_length, first_line, sha256 FROM chunk c
WHERE delivery_id = $1
  AND chunk_index IN (SELECT chunk_index FROM judgement_copy WHERE delivery_id = $1 AND (fate = 'ambiguous' OR nth <= $2))
  AND NOT EXISTS (SELECT FROM judgement_reading r WHERE (r.delivery_id, r.chunk_index) = ($1, c.chunk_index))
ORDER BY chunk_index

-- name: keys_in_chunk
SELECT DISTINCT natural_key FROM judgement_copy
WHERE delivery_id = $1 AND chunk_index = $2 AND (fate = 'ambiguous' OR nth <= $3)

-- name: ambiguous_in_chunk
SELECT DISTINCT natural_key FROM judgement_copy WHERE delivery_id = $1 AND chunk_index = $2 AND fate = 'ambiguous'

-- name: listed_keys
SELECT natural_key, count(*) AS record_count FROM judgement_copy WHERE delivery_id = $1 AND nth IS NOT NULL GROUP BY natural_key

-- name: keep_reading
INSERT INTO judgement_reading (delivery_id, chunk_index, winner_keys, copy_columns, copy_text) VALUES ($1, $2, $3, $4, $5)

-- name: named
-- Of each key the first ones.
SELECT chunk_index, natural_key, position, line, byte_offset, raw, byte_length
FROM (SELECT n.*, row_number() OVER (PARTITION BY natural_key ORDER BY chunk_index, position) AS nth
      FROM judgement_named n WHERE delivery_id = $1) n
WHERE nth <= $2 ORDER BY chunk_index, position

-- name: settle
-- Of the copies of one key one is stored anew and the others are dropped.
UPDATE judgement_copy d
SET fate = CASE WHEN d.place = w.place THEN 'replaced' ELSE 'duplicate' END
FROM (SELECT c.chunk_index, c.natural_key, min(c.place) AS place
      FROM (SELECT chunk_index, unnest(winner_keys) AS natural_key FROM judgement_reading WHERE delivery_id = $1) r
      JOIN judgement_copy c ON c.chunk_index = r.chunk_index AND c.natural_key = r.natural_key
      WHERE c.delivery_id = $1 AND c.fate = 'ambiguous' GROUP BY c.chunk_index, c.natural_key) w
WHERE d.delivery_id = $1 AND d.chunk_index = w.chunk_index AND d.natural_key = w.natural_key

-- name: quarantine_unsettled
UPDATE judgement_copy SET fate = 'quarantine' WHERE delivery_id = $1 AND fate = 'ambiguous'

-- name: stored_anew
SELECT chunk_index FROM judgement_reading WHERE delivery_id = $1 AND copy_text <> '' ORDER BY chunk_index

-- name: make_stored_anew
CREATE TEMPORARY TABLE stored_anew (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP

-- name: readings
SELECT copy_columns, string_agg(copy_text, '' ORDER BY chunk_index) AS copy_text
FROM judgement_reading WHERE delivery_id = $1 AND chunk_index = ANY($2::integer[]) GROUP BY copy_columns

-- name: store_anew
WITH one AS (INSERT INTO {table} SELECT * FROM stored_anew RETURNING ctid AS place, {money})
SELECT {totals}, min(place) AS first_place, max(place) AS last_place FROM one

-- name: delete_rows
-- A place alone says which row it is; the rest is asked to be sure.
WITH one AS (
    DELETE FROM {table} r
    USING (SELECT place, natural_key FROM judgement_copy WHERE delivery_id = $1 AND fate <> 'keep' ORDER BY place) d
    WHERE r.ctid = d.place AND r.delivery_id = $1 AND r.{key}::text = d.natural_key RETURNING r.ctid AS place, {money})
SELECT {totals} FROM one

-- name: count_in_chunks
UPDATE chunk c
SET persisted_count = c.persisted_count - f.quarantined - f.dropped,
    quarantined_count = c.quarantined_count + f.quarantined, duplicate_count = c.duplicate_count + f.dropped
FROM (SELECT chunk_index, count(*) FILTER (WHERE fate = 'quarantine') AS quarantined,
             count(*) FILTER (WHERE fate = 'duplicate') AS dropped
      FROM judgement_copy WHERE delivery_id = $1 GROUP BY chunk_index) f
WHERE c.delivery_id = $1 AND c.chunk_index = f.chunk_index

-- name: quarantined_in_chunks
SELECT c.chunk_index, c.byte_offset, c.byte_length, c.first_line, f.record_count
FROM (SELECT chunk_index, count(*) AS record_count FROM judgement_copy
      WHERE delivery_id = $1 AND fate = 'quarantine' GROUP BY chunk_index) f
JOIN chunk c USING (chunk_index) WHERE c.delivery_id = $1 ORDER BY chunk_index

-- name: quarantined_keys
SELECT DISTINCT natural_key FROM judgement_copy WHERE delivery_id = $1 AND fate = 'quarantine' AND nth IS NOT NULL

-- name: add_key
INSERT INTO duplicate_key (delivery_id, tenant, natural_key, record_count, lines) VALUES ($1, $2, $3, $4, $5)

-- name: left_over
-- $1: sums of all rows, $2: of those that were removed, $3: of those that were stored anew, $4: how many there are now.
SELECT coalesce(jsonb_object_agg(name, CASE WHEN $4::bigint = 0 THEN '0' ELSE
           (total::numeric - ($2::jsonb ->> name)::numeric + coalesce(($3::jsonb ->> name)::numeric, 0))::text END), '{}')
FROM jsonb_each_text($1::jsonb) AS one (name, total)
