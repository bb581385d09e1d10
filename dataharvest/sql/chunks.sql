-- name: lock_accepting
-- It also names the delivery for the COPY that comes next.
SELECT state, (SELECT sha256 FROM chunk WHERE (delivery_id, chunk_index) = ($1, $2)) AS stored_sha256,
       set_config('dataharvest.delivery_id', delivery_id::text, true)
FROM delivery WHERE delivery_id = $1 FOR SHARE OF delivery

-- name: lock_accepting_at_once
-- The same, and nothing where somebody else has the delivery.
SELECT state, (SELECT sha256 FROM chunk WHERE (delivery_id, chunk_index) = ($1, $2)) AS stored_sha256,
       set_config('dataharvest.delivery_id', delivery_id::text, true)
FROM delivery WHERE delivery_id = $1 FOR SHARE OF delivery SKIP LOCKED

-- name: stored
SELECT sha256 AS stored_sha256 FROM chunk WHERE (delivery_id, chunk_index) = ($1, $2)

-- name: name_delivery
SELECT set_config('dataharvest.delivery_id', $1, true)

-- name: insert_chunk
INSERT INTO chunk (delivery_id, chunk_index, tenant, byte_offset, byte_length, first_line, sha256, record_count,
                   persisted_count, quarantined_count, topic_partition, topic_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (delivery_id, chunk_index) DO NOTHING
RETURNING chunk_index
