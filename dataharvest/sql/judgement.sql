-- {table} and {key} are the entity's table and the column of its natural key, {hash} is a hash of it.

-- name: lock_delivery
SELECT * FROM delivery WHERE delivery_id = $1 FOR UPDATE

-- name: ledger
SELECT byte_offset, byte_length, record_count, persisted_count, quarantined_count, duplicate_count, accepted_count
FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index

-- name: begin
-- What was counted of rows that it had when it was begun before is of no use.
WITH forgotten AS (DELETE FROM judgement_slice WHERE delivery_id = $1)
UPDATE delivery
SET state = 'judging', judgement_sent_at = NULL, failure = NULL, record_count = $2, persisted_count = $3, quarantined_count = $4,
    duplicate_count = $5, accepted_count = $6
WHERE delivery_id = $1

-- name: begin_small
-- The same in one statement for a delivery whose only chunk is there and is the whole content. A ledger row that is seen is
-- committed with its rows, and until the delivery is judged nothing changes it; that its counts add up is a constraint of the table.
-- So few records were never counted in slices.
UPDATE delivery d
SET state = 'judging', judgement_sent_at = NULL, failure = NULL, record_count = c.record_count,
    persisted_count = c.persisted_count, quarantined_count = c.quarantined_count, duplicate_count = c.duplicate_count,
    accepted_count = c.accepted_count
FROM chunk c
WHERE d.delivery_id = $1 AND d.state = 'sealed' AND d.chunk_count = 1 AND c.delivery_id = $1 AND c.chunk_index = 0
  AND c.byte_offset = d.content_start AND c.byte_offset + c.byte_length = d.content_end AND c.record_count <= $2
RETURNING d.delivery_id

-- name: note_broken
UPDATE delivery SET failure = jsonb_build_object('rule', 'conservation', 'message', $2::text) WHERE delivery_id = $1

-- name: note_waiting
-- From now on the judgement is as good as sent: it is overdue after the usual time, and then comes again.
UPDATE delivery SET failure = $2, judgement_sent_at = clock_timestamp() WHERE delivery_id = $1 AND state = 'judging'

-- name: is_going_on
SELECT state = 'judging' FROM delivery WHERE delivery_id = $1

-- name: unsent
-- One whose row is locked is being judged now. One that was dead-lettered waits for a replay.
SELECT tenant, business_date, delivery_id, entity FROM delivery d
WHERE state = 'judging' AND judgement_sent_at IS NULL AND tenant = $1 AND business_date = $2
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.delivery_id = d.delivery_id AND l.topic = 'work' AND l.failed_at > d.sealed_at
                  AND l.state <> 'replayed')
ORDER BY delivery_id
FOR KEY SHARE OF d SKIP LOCKED

-- name: overdue
-- Never sent, or sent so long ago that the message must have got lost; neither being judged now nor dead-lettered.
SELECT tenant, business_date, delivery_id, entity FROM delivery d
WHERE state = 'judging' AND coalesce(judgement_sent_at, sealed_at) < clock_timestamp() - make_interval(secs => $1)
  AND failure->>'rule' IS DISTINCT FROM 'conservation'
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.delivery_id = d.delivery_id AND l.topic = 'work' AND l.failed_at > d.sealed_at
                  AND l.state <> 'replayed')
ORDER BY delivery_id
FOR KEY SHARE OF d SKIP LOCKED

-- name: sent
-- A row that is locked is being judged: its message has arrived, and whoever marks it need not wait for the verdict.
UPDATE delivery SET judgement_sent_at = clock_timestamp()
WHERE delivery_id = (SELECT delivery_id FROM delivery WHERE delivery_id = $1 AND state = 'judging' FOR NO KEY UPDATE SKIP LOCKED)

-- name: lock
-- What comes next in the transaction goes through rows, and is planned for as many as there are.
SELECT *, set_config('plan_cache_mode', 'auto', true) FROM delivery WHERE delivery_id = $1 AND state = 'judging' FOR UPDATE

-- name: room
-- Copies are few or the file was doubled by mistake; spilling them to disk costs more than comparing them.
SET LOCAL work_mem = '64MB'

-- name: no_nested_loops
-- Nothing has counted the rows of a delivery that was loaded just now: for the planner they are one, and it may choose to walk
-- through all chunks for each of millions of rows.
SET LOCAL enable_nestloop = off

-- name: make_duplicates
-- fate: 'keep', 'quarantine', 'duplicate' (dropped), 'ambiguous' (only the bytes tell), 'replaced' (stored anew).
CREATE TEMPORARY TABLE duplicate_row (
    place tid, natural_key text COLLATE "C", chunk_index integer, nth bigint, fate text DEFAULT 'quarantine', listed boolean
) ON COMMIT DROP

-- name: fill_duplicates
-- A row and the ledger row of its chunk were written by one transaction, so both carry its number in xmin: this says which chunk
-- a row came from without a byte stored per row. It holds until either is written again, or restored from a dump.
-- $2: hashes of the keys that may occur more than once; null for all. Two keys with one hash are told apart here.
WITH copy AS (
    SELECT r.ctid AS place, r.{key} AS natural_key, c.chunk_index,
           count(*) OVER (PARTITION BY r.{key}) AS copies,
           row_number() OVER (PARTITION BY r.{key} ORDER BY c.chunk_index) AS nth
    FROM {table} r
    LEFT JOIN (SELECT xmin AS written_by, chunk_index FROM chunk WHERE delivery_id = $1) c ON c.written_by = r.xmin
    WHERE r.delivery_id = $1 AND ($2::bigint[] IS NULL OR {hash} IN (SELECT unnest($2::bigint[]))))
INSERT INTO duplicate_row (place, natural_key, chunk_index, nth)
SELECT place, natural_key::text, chunk_index, nth FROM copy WHERE copies > 1

-- name: any_joins
SET LOCAL enable_nestloop = DEFAULT

-- name: analyze_duplicates
ANALYZE duplicate_row

-- name: any_unknown_chunk
SELECT EXISTS (SELECT FROM duplicate_row WHERE chunk_index IS NULL)

-- name: list_keys
UPDATE duplicate_row SET listed = true
WHERE natural_key IN (SELECT natural_key FROM duplicate_row GROUP BY natural_key ORDER BY min(chunk_index), natural_key LIMIT $1)

-- name: first_wins
UPDATE duplicate_row d
SET fate = CASE WHEN d.chunk_index <> w.chunk_index THEN 'duplicate' WHEN w.copies = 1 THEN 'keep' ELSE 'ambiguous' END
FROM (SELECT DISTINCT ON (natural_key) natural_key, chunk_index, count(*) AS copies
      FROM duplicate_row GROUP BY natural_key, chunk_index ORDER BY natural_key, chunk_index) w
WHERE w.natural_key = d.natural_key

-- name: last_wins
UPDATE duplicate_row d
SET fate = CASE WHEN d.chunk_index <> w.chunk_index THEN 'duplicate' WHEN w.copies = 1 THEN 'keep' ELSE 'ambiguous' END
FROM (SELECT DISTINCT ON (natural_key) natural_key, chunk_index, count(*) AS copies
      FROM duplicate_row GROUP BY natural_key, chunk_index ORDER BY natural_key, chunk_index DESC) w
WHERE w.natural_key = d.natural_key

-- name: chunks_to_read
SELECT chunk_index, byte_offset, byte_length, first_line, sha256 FROM chunk
WHERE delivery_id = $1
  AND chunk_index IN (SELECT chunk_index FROM duplicate_row WHERE fate = 'ambiguous' OR listed AND nth <= $2)
ORDER BY chunk_index

-- name: keys_in_chunk
SELECT DISTINCT natural_key FROM duplicate_row WHERE chunk_index = $1 AND (fate = 'ambiguous' OR listed AND nth <= $2)

-- name: ambiguous_in_chunk
SELECT DISTINCT natural_key FROM duplicate_row WHERE chunk_index = $1 AND fate = 'ambiguous'

-- name: settle
-- Of the copies of one key one is stored anew and the others are dropped.
UPDATE duplicate_row d
SET fate = CASE WHEN d.place = w.place THEN 'replaced' ELSE 'duplicate' END
FROM (SELECT natural_key, min(place) AS place FROM duplicate_row
      WHERE chunk_index = $1 AND fate = 'ambiguous' AND natural_key = ANY($2) GROUP BY natural_key) w
WHERE d.chunk_index = $1 AND d.natural_key = w.natural_key

-- name: quarantine_unsettled
UPDATE duplicate_row SET fate = 'quarantine' WHERE fate = 'ambiguous'

-- name: delete_rows
DELETE FROM {table} r USING duplicate_row d WHERE r.delivery_id = $1 AND r.ctid = d.place AND d.fate <> 'keep'

-- name: count_in_chunks
UPDATE chunk c
SET persisted_count = c.persisted_count - f.quarantined - f.dropped,
    quarantined_count = c.quarantined_count + f.quarantined, duplicate_count = c.duplicate_count + f.dropped
FROM (SELECT chunk_index, count(*) FILTER (WHERE fate = 'quarantine') AS quarantined,
             count(*) FILTER (WHERE fate = 'duplicate') AS dropped
      FROM duplicate_row GROUP BY chunk_index) f
WHERE c.delivery_id = $1 AND c.chunk_index = f.chunk_index

-- name: listed_keys
SELECT natural_key, count(*) AS record_count FROM duplicate_row WHERE listed GROUP BY natural_key

-- name: quarantined_in_chunks
SELECT c.chunk_index, c.byte_offset, c.byte_length, c.first_line, f.record_count
FROM (SELECT chunk_index, count(*) AS record_count FROM duplicate_row WHERE fate = 'quarantine' GROUP BY chunk_index) f
JOIN chunk c USING (chunk_index) WHERE c.delivery_id = $1 ORDER BY chunk_index

-- name: quarantined_keys
SELECT DISTINCT natural_key FROM duplicate_row WHERE fate = 'quarantine' AND listed

-- name: add_key
INSERT INTO duplicate_key (delivery_id, tenant, natural_key, record_count, lines) VALUES ($1, $2, $3, $4, $5)

-- name: lock_set
SELECT tenant FROM business_set WHERE tenant = $1 AND business_date = $2 FOR UPDATE

-- name: complete
-- An older delivery that is done after a newer one was is history at once.
WITH forgotten AS (DELETE FROM judgement_slice WHERE delivery_id = $1)
UPDATE delivery d
SET state = CASE WHEN EXISTS (
        SELECT FROM delivery newer
        WHERE (newer.tenant, newer.business_date, newer.entity) = (d.tenant, d.business_date, d.entity)
          AND newer.state = 'complete'
          AND (newer.last_modified, newer.object_key, newer.delivery_id) > (d.last_modified, d.object_key, d.delivery_id)
    ) THEN 'superseded' ELSE 'complete' END,
    completed_at = clock_timestamp(), failure = NULL, record_count = $2, persisted_count = $3, quarantined_count = $4, duplicate_count = $5,
    accepted_count = $6, sums = $7, first_block = $8, last_block = $9
WHERE d.delivery_id = $1
RETURNING d.state
