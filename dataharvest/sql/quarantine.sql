-- {table} and {key} are the entity's table and the column of its natural key.

-- name: counts
-- $1 tenant, $2 date, $3 entity, $4 rule, $5 numbers, $6 state, $7 whether replaced deliveries count, $8 delivery.
SELECT q.tenant, d.business_date, d.entity, q.rule, q.state, count(*) AS entry_count, sum(q.record_count)::bigint AS record_count
FROM quarantine q JOIN delivery d USING (delivery_id)
WHERE ($1::text IS NULL OR q.tenant = $1) AND ($2::date IS NULL OR d.business_date = $2)
  AND ($3::text IS NULL OR d.entity = $3) AND ($4::text IS NULL OR q.rule = $4)
  AND ($5::bigint[] IS NULL OR q.quarantine_id = ANY($5)) AND ($6::text IS NULL OR q.state = $6)
  AND ($7 OR d.state <> 'superseded') AND ($8::bigint IS NULL OR q.delivery_id = $8)
GROUP BY q.tenant, d.business_date, d.entity, q.rule, q.state
ORDER BY q.tenant, d.business_date, d.entity, q.rule, q.state

-- name: entries
-- As for `counts`; $9 how many at most.
SELECT q.quarantine_id, q.delivery_id, q.tenant, d.business_date, d.entity, d.object_key, q.chunk_index, q.position, q.line,
       q.byte_offset, q.byte_length, q.column_name AS column, q.rule, q.message, q.raw, q.record_count, q.state, q.natural_key,
       last.content, last.action, last.who, last.repaired_at
FROM quarantine q JOIN delivery d USING (delivery_id)
LEFT JOIN LATERAL (SELECT content, action, who, repaired_at FROM repair r
                   WHERE r.quarantine_id = q.quarantine_id AND r.action <> 'drop' AND q.state <> 'open'
                   ORDER BY repair_id DESC LIMIT 1) last ON true
WHERE ($1::text IS NULL OR q.tenant = $1) AND ($2::date IS NULL OR d.business_date = $2)
  AND ($3::text IS NULL OR d.entity = $3) AND ($4::text IS NULL OR q.rule = $4)
  AND ($5::bigint[] IS NULL OR q.quarantine_id = ANY($5)) AND ($6::text IS NULL OR q.state = $6)
  AND ($7 OR d.state <> 'superseded') AND ($8::bigint IS NULL OR q.delivery_id = $8)
ORDER BY q.tenant, d.business_date, d.entity, q.delivery_id, q.chunk_index, q.position
LIMIT $9

-- name: history
-- As for `entries`; of several hundred the newest.
SELECT * FROM (
    SELECT r.repair_id, r.repaired_at AS at, r.quarantine_id, q.delivery_id, q.tenant, d.business_date, d.entity, q.line, q.rule,
           r.action, r.who, r.why, r.persisted_count, r.duplicate_count, r.accepted_count, q.raw AS original, r.content,
           r.contract_version, r.superseded_by
    FROM repair r JOIN quarantine q USING (quarantine_id) JOIN delivery d USING (delivery_id)
    WHERE ($1::text IS NULL OR q.tenant = $1) AND ($2::date IS NULL OR d.business_date = $2)
      AND ($3::text IS NULL OR d.entity = $3) AND ($4::text IS NULL OR q.rule = $4)
      AND ($5::bigint[] IS NULL OR q.quarantine_id = ANY($5)) AND ($6::text IS NULL OR q.state = $6)
      AND ($7 OR d.state <> 'superseded') AND ($8::bigint IS NULL OR q.delivery_id = $8)
    ORDER BY r.repair_id DESC LIMIT $9) newest
ORDER BY repair_id

-- name: delivery
SELECT * FROM delivery WHERE delivery_id = $1

-- name: chunks
-- A misaligned tail is a chunk of its own, of which only a sample was hashed, and holds no records.
SELECT chunk_index, byte_offset, byte_length, first_line, sha256 FROM chunk c
WHERE delivery_id = $1
  AND NOT EXISTS (SELECT FROM quarantine q WHERE (q.delivery_id, q.chunk_index, q.position) = (c.delivery_id, c.chunk_index, 0)
                  AND q.rule = 'misaligned_tail' AND q.byte_length = c.byte_length)
ORDER BY chunk_index

-- name: lock_delivery
SELECT * FROM delivery WHERE delivery_id = $1 FOR UPDATE

-- name: newer
-- A file of the same kind that replaces this one, or is about to; one that waits for an object that can't be read is not.
SELECT newer.delivery_id, newer.state FROM delivery newer JOIN delivery d ON d.delivery_id = $1
WHERE (newer.tenant, newer.business_date, newer.entity) = (d.tenant, d.business_date, d.entity)
  AND newer.state IN ('registered', 'splitting', 'sealed', 'judging', 'complete')
  AND newer.failure->>'rule' IS DISTINCT FROM 'conservation'
  AND (newer.last_modified, newer.object_key, newer.delivery_id) > (d.last_modified, d.object_key, d.delivery_id)
ORDER BY newer.last_modified DESC, newer.object_key DESC, newer.delivery_id DESC LIMIT 1

-- name: lock_entries
SELECT quarantine_id FROM quarantine WHERE delivery_id = $1 AND quarantine_id = ANY($2) ORDER BY quarantine_id FOR UPDATE

-- name: repaired_places
SELECT natural_key, chunk_index, position FROM quarantine WHERE delivery_id = $1 AND natural_key = ANY($2)

-- name: stored_keys
SELECT DISTINCT {key}::text AS natural_key FROM {table} WHERE delivery_id = $1 AND {key}::text = ANY($2)

-- name: delete_rows
DELETE FROM {table} WHERE delivery_id = $1 AND {key}::text = ANY($2)

-- name: settle
UPDATE quarantine SET state = $2, natural_key = $3 WHERE quarantine_id = $1

-- name: replaced
-- Rows that came from the quarantine and that another record now stands for.
UPDATE quarantine SET natural_key = NULL WHERE delivery_id = $1 AND natural_key = ANY($2)

-- name: note
INSERT INTO repair (quarantine_id, tenant, action, who, why, persisted_count, duplicate_count, accepted_count, content,
                    contract_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: count_in_chunks
-- $2 chunk, then what is added to its counts: persisted, quarantined, duplicate, accepted.
UPDATE chunk c
SET record_count = c.record_count + f.persisted + f.quarantined + f.duplicate + f.accepted,
    persisted_count = c.persisted_count + f.persisted, quarantined_count = c.quarantined_count + f.quarantined,
    duplicate_count = c.duplicate_count + f.duplicate, accepted_count = c.accepted_count + f.accepted
FROM unnest($2::integer[], $3::integer[], $4::integer[], $5::integer[], $6::integer[])
     AS f (chunk_index, persisted, quarantined, duplicate, accepted)
WHERE c.delivery_id = $1 AND c.chunk_index = f.chunk_index

-- name: ledger
SELECT byte_offset, byte_length, record_count, persisted_count, quarantined_count, duplicate_count, accepted_count
FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index

-- name: recount
UPDATE delivery SET record_count = $2, persisted_count = $3, quarantined_count = $4, duplicate_count = $5, accepted_count = $6,
       sums = $7
WHERE delivery_id = $1
