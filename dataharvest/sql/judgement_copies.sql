-- {table} and {key} are the entity's table and the column of its natural key, {hash} is a hash of it, {money} its columns of money,
-- {totals} their exact sums and the number of rows. {winner_chunk} is the chunk of a key's winner by the contract's rule, null where none
-- wins, and {winner_count} how many copies are in it.

-- name: room
-- Copies are few or the file was doubled by mistake; spilling them to disk costs more than comparing them.
SET LOCAL work_mem = '64MB'

-- name: by_hash
-- Nothing has counted the rows of a delivery that was loaded just now, nor its copies: for the planner they are one, and it may choose to
-- walk through all chunks for each of millions of rows, or to compare every key of a chunk with every other.
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off

-- name: by_place
-- A row is fetched from the place that is known, a key by its index, however many there are.
SET LOCAL enable_nestloop = on; SET LOCAL enable_tidscan = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off

-- name: any_plan
SET LOCAL enable_nestloop = DEFAULT; SET LOCAL enable_tidscan = DEFAULT; SET LOCAL enable_seqscan = DEFAULT;
SET LOCAL enable_bitmapscan = DEFAULT; SET LOCAL enable_hashjoin = DEFAULT; SET LOCAL enable_mergejoin = DEFAULT

-- name: clear
WITH keys AS (DELETE FROM judgement_key WHERE delivery_id = $1)
DELETE FROM judgement_copy WHERE delivery_id = $1

-- name: find
-- {range} keeps it to the blocks from $3 to before $4, or is empty where all rows are meant.
-- A row and the ledger row of its chunk were written by one transaction, so both carry its number in xmin: this says which chunk
-- a row came from without a byte stored per row. It holds until either is written again, or restored from a dump.
-- $2: hashes of the keys that may occur more than once; null for all. Keys are told apart here that have one hash, and of whatever is found
-- those that occur once are passed over later.
WITH copy AS (
    INSERT INTO judgement_copy (delivery_id, chunk_index, natural_key, row_place, written_by)
    SELECT $1, coalesce(c.chunk_index, -1), r.{key}::text, r.ctid, r.xmin
    FROM {table} r
    LEFT JOIN (SELECT xmin AS written_by, chunk_index FROM chunk WHERE delivery_id = $1) c ON c.written_by = r.xmin
    WHERE r.delivery_id = $1 AND r.{key} IS NOT NULL {range}
      AND ($2::bigint[] IS NULL OR {hash} IN (SELECT unnest($2::bigint[])))
    RETURNING natural_key, chunk_index),
in_chunk AS (SELECT natural_key, chunk_index, count(*)::integer AS record_count FROM copy GROUP BY natural_key, chunk_index),
of_key AS (
    SELECT natural_key, sum(record_count) AS record_count,
           min(ARRAY[chunk_index, record_count]) AS first, max(ARRAY[chunk_index, record_count]) AS last
    FROM in_chunk GROUP BY natural_key),
kept AS (
    INSERT INTO judgement_key AS k (delivery_id, natural_key, record_count, first_chunk, first_count, last_chunk, last_count)
    SELECT $1, natural_key, record_count, first[1], first[2], last[1], last[2] FROM of_key
    ON CONFLICT (delivery_id, natural_key) DO UPDATE
    SET record_count = k.record_count + excluded.record_count,
        first_chunk = least(k.first_chunk, excluded.first_chunk),
        first_count = CASE WHEN k.first_chunk <= excluded.first_chunk THEN k.first_count ELSE 0 END
            + CASE WHEN excluded.first_chunk <= k.first_chunk THEN excluded.first_count ELSE 0 END,
        last_chunk = greatest(k.last_chunk, excluded.last_chunk),
        last_count = CASE WHEN k.last_chunk >= excluded.last_chunk THEN k.last_count ELSE 0 END
            + CASE WHEN excluded.last_chunk >= k.last_chunk THEN excluded.last_count ELSE 0 END)
SELECT count(*) FROM copy

-- name: count
SELECT count(*) FROM judgement_copy WHERE delivery_id = $1

-- name: tally
-- How many rows the keys have, those that occur more than once, and whether of one of these nobody knows the chunk.
SELECT coalesce(sum(record_count), 0)::bigint AS row_count,
       coalesce(sum(record_count) FILTER (WHERE record_count > 1), 0)::bigint AS copy_count,
       coalesce(bool_or(first_chunk < 0) FILTER (WHERE record_count > 1), false) AS any_unknown_chunk
FROM judgement_key WHERE delivery_id = $1

-- name: list_keys
UPDATE judgement_key SET is_listed = true
WHERE delivery_id = $1 AND natural_key = ANY (ARRAY(
    SELECT natural_key FROM judgement_key WHERE delivery_id = $1 AND record_count > 1
    ORDER BY first_chunk, natural_key LIMIT $2))

-- name: add_readings
-- Chunks with the first $2 copies of a key that is listed, and those in which only the bytes tell which of several copies wins.
INSERT INTO judgement_reading (delivery_id, chunk_index, listed_keys)
SELECT $1, chunk_index, coalesce(array_agg(DISTINCT natural_key) FILTER (WHERE natural_key IS NOT NULL), '{}')
FROM (SELECT c.chunk_index, c.natural_key, row_number() OVER (PARTITION BY c.natural_key ORDER BY c.chunk_index, c.row_place) AS nth
      FROM judgement_copy c JOIN judgement_key k ON k.natural_key = c.natural_key
      WHERE c.delivery_id = $1 AND k.delivery_id = $1 AND k.is_listed
      UNION ALL
      SELECT DISTINCT {winner_chunk}, NULL::text, 1 FROM judgement_key k WHERE delivery_id = $1 AND {winner_count} > 1) one
WHERE nth <= $2 GROUP BY chunk_index

-- name: readings_are_known
UPDATE judgement_decision SET are_readings_known = true WHERE delivery_id = $1

-- name: decide
INSERT INTO judgement_decision (delivery_id, rule, copy_count, record_count, sums, first_block, last_block)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: decision
SELECT * FROM judgement_decision WHERE delivery_id = $1

-- name: chunks_to_read
SELECT c.chunk_index, c.byte_offset, c.byte_length, c.first_line, c.sha256
FROM judgement_reading r JOIN chunk c USING (delivery_id, chunk_index)
WHERE r.delivery_id = $1 AND NOT r.is_read ORDER BY r.chunk_index LIMIT $2

-- name: listed_in_chunk
SELECT unnest(listed_keys) AS natural_key FROM judgement_reading WHERE delivery_id = $1 AND chunk_index = $2

-- name: ambiguous_in_chunk
SELECT natural_key FROM judgement_key k WHERE delivery_id = $1 AND {winner_chunk} = $2 AND {winner_count} > 1

-- name: listed_keys
SELECT natural_key, record_count FROM judgement_key WHERE delivery_id = $1 AND is_listed

-- name: keep_reading
UPDATE judgement_reading SET is_read = true, missing_keys = $3, copy_columns = $4, copy_text = $5
WHERE delivery_id = $1 AND chunk_index = $2

-- name: named
-- Of each key the first ones.
SELECT chunk_index, natural_key, position, line, byte_offset, raw, byte_length
FROM (SELECT n.*, row_number() OVER (PARTITION BY natural_key ORDER BY chunk_index, position) AS nth
      FROM judgement_named n WHERE delivery_id = $1) n
WHERE nth <= $2 ORDER BY chunk_index, position

-- name: next_portion
-- The last chunk of those from $2 on that hold fewer than $3 copies together, or the first of them; null when they are all.
SELECT CASE WHEN count(*) < $3 THEN NULL WHEN max(chunk_index) > min(chunk_index) THEN max(chunk_index) - 1
            ELSE max(chunk_index) END
FROM (SELECT chunk_index FROM judgement_copy WHERE delivery_id = $1 AND chunk_index >= $2 ORDER BY chunk_index LIMIT $3) one

-- name: remove
-- Settles all copies in the chunks from $2 to $3: rows go, and what is kept of them. 'settled' are all copies in one chunk of a key one of
-- which is stored anew: nobody knows which row it is, so all of them go. A place alone says which row it is; the rest is asked to be
-- sure. LIMIT keeps the planner from beginning with all keys.
WITH going AS MATERIALIZED (
    SELECT c.row_place AS place, c.written_by, c.natural_key, c.chunk_index, k.is_listed,
           CASE WHEN {winner_chunk} IS NULL THEN 'quarantine' WHEN {winner_chunk} <> c.chunk_index THEN 'duplicate'
                WHEN {winner_count} = 1 THEN 'keep' WHEN r.is_read AND c.natural_key <> ALL (r.missing_keys) THEN 'settled'
                ELSE 'quarantine' END AS fate
    FROM judgement_copy c
    CROSS JOIN LATERAL (SELECT * FROM judgement_key WHERE delivery_id = $1 AND natural_key = c.natural_key LIMIT 1) k
    LEFT JOIN LATERAL (SELECT is_read, missing_keys FROM judgement_reading
                       WHERE delivery_id = $1 AND chunk_index = c.chunk_index LIMIT 1) r ON true
    WHERE c.delivery_id = $1 AND c.chunk_index BETWEEN $2 AND $3 AND k.record_count > 1),
gone AS (
    DELETE FROM {table} r USING (SELECT * FROM going WHERE fate <> 'keep' ORDER BY place) g
    WHERE r.ctid = g.place AND r.xmin = g.written_by AND r.delivery_id = $1 AND r.{key}::text = g.natural_key RETURNING {money}),
in_chunk AS (
    SELECT chunk_index, count(*) AS copies, count(*) FILTER (WHERE fate <> 'keep') AS wanted,
           count(*) FILTER (WHERE fate = 'quarantine') AS quarantined,
           count(*) FILTER (WHERE fate IN ('duplicate', 'settled'))
               - count(DISTINCT natural_key) FILTER (WHERE fate = 'settled') AS dropped,
           coalesce(array_agg(DISTINCT natural_key) FILTER (WHERE fate = 'quarantine' AND is_listed), '{}') AS listed
    FROM going GROUP BY chunk_index),
forgotten AS (DELETE FROM judgement_copy WHERE delivery_id = $1 AND chunk_index BETWEEN $2 AND $3)
SELECT one.*, in_all.*
FROM (SELECT {totals} FROM gone) one,
     (SELECT coalesce(sum(copies), 0)::bigint AS settled_count, coalesce(sum(wanted), 0)::bigint AS wanted_count,
             coalesce(jsonb_agg(to_jsonb(in_chunk)), '[]') AS chunks FROM in_chunk) in_all

-- name: count_in_chunks
UPDATE chunk c
SET persisted_count = c.persisted_count - f.quarantined - f.dropped,
    quarantined_count = c.quarantined_count + f.quarantined, duplicate_count = c.duplicate_count + f.dropped
FROM jsonb_to_recordset($2::jsonb) AS f (chunk_index integer, quarantined integer, dropped integer)
WHERE c.delivery_id = $1 AND c.chunk_index = f.chunk_index AND f.quarantined + f.dropped > 0
RETURNING c.chunk_index, c.byte_offset, c.byte_length, c.first_line

-- name: find_places_anew
-- Where rows have moved: copies in one chunk of one key are alike. How many were found.
WITH there AS (
    SELECT r.ctid AS place, r.xmin AS written_by, r.{key}::text AS natural_key,
           row_number() OVER (PARTITION BY r.{key}, r.xmin::text ORDER BY r.ctid) AS nth
    FROM {table} r WHERE r.delivery_id = $1 AND r.{key}::text IN (SELECT natural_key FROM judgement_copy WHERE delivery_id = $1)),
known AS (
    SELECT ctid AS copy, written_by, natural_key,
           row_number() OVER (PARTITION BY natural_key, written_by::text ORDER BY row_place) AS nth
    FROM judgement_copy WHERE delivery_id = $1),
moved AS (
    UPDATE judgement_copy c SET row_place = there.place
    FROM known JOIN there ON (there.natural_key, there.nth) = (known.natural_key, known.nth) AND there.written_by = known.written_by
    WHERE c.delivery_id = $1 AND c.ctid = known.copy RETURNING 1)
SELECT count(*) FROM moved

-- name: count_rows
SELECT count(*) FROM {table} WHERE delivery_id = $1

-- name: stored_anew
SELECT chunk_index FROM judgement_reading
WHERE delivery_id = $1 AND chunk_index BETWEEN $2 AND $3 AND copy_text <> '' ORDER BY chunk_index

-- name: make_stored_anew
CREATE TEMPORARY TABLE stored_anew (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP

-- name: readings
SELECT copy_columns, string_agg(copy_text, '' ORDER BY chunk_index) AS copy_text
FROM judgement_reading WHERE delivery_id = $1 AND chunk_index = ANY($2::integer[]) GROUP BY copy_columns

-- name: store_anew
WITH one AS (INSERT INTO {table} SELECT * FROM stored_anew RETURNING ctid AS place, {money})
SELECT {totals}, min(place) AS first_place, max(place) AS last_place FROM one

-- name: forget_readings
DELETE FROM judgement_reading WHERE delivery_id = $1 AND chunk_index BETWEEN $2 AND $3

-- name: forget_keys
WITH gone AS (
    DELETE FROM judgement_key WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM judgement_key WHERE delivery_id = $1 AND NOT is_listed LIMIT $2)) RETURNING 1)
SELECT count(*) FROM gone

-- name: note_settled
-- $8 and $9: how many went into quarantine and were dropped.
WITH counted AS (
    UPDATE delivery SET persisted_count = persisted_count - $8 - $9, quarantined_count = quarantined_count + $8,
                        duplicate_count = duplicate_count + $9
    WHERE delivery_id = $1)
UPDATE judgement_decision
SET next_chunk = $2, settled_count = settled_count + $3, record_count = $4, sums = $5, first_block = $6, last_block = $7
WHERE delivery_id = $1

-- name: note_all_settled
-- What was counted before copies were removed is not asked any more: from now on slices are of what is left.
WITH slices AS (DELETE FROM judgement_slice WHERE delivery_id = $1)
UPDATE judgement_decision SET are_copies_settled = true WHERE delivery_id = $1

-- name: add_key
INSERT INTO duplicate_key (delivery_id, tenant, natural_key, record_count, lines) VALUES ($1, $2, $3, $4, $5)

-- name: left_over
-- $1: sums of all rows, $2: of those that were removed, $3: of those that were stored anew, $4: how many there are now.
SELECT coalesce(jsonb_object_agg(name, CASE WHEN $4::bigint = 0 THEN '0' ELSE
           (total::numeric - ($2::jsonb ->> name)::numeric + coalesce(($3::jsonb ->> name)::numeric, 0))::text END), '{}')
FROM jsonb_each_text($1::jsonb) AS one (name, total)
