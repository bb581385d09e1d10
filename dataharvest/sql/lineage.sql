-- name: message
SELECT message_id, set_version_id, tenant, business_date, kind, reference, version, supersedes, withdrawn, payload, sent_at
FROM outbound WHERE message_id = $1

-- name: deliveries
SELECT d.* FROM set_version_delivery JOIN delivery d USING (delivery_id) WHERE set_version_id = $1 ORDER BY d.entity

-- name: chunks
SELECT chunk_index, byte_offset, byte_length, first_line, sha256 FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index

-- name: rows
-- {table}, {key} and {concerned} come from the entity's declaration. A row and the ledger row of its chunk carry the number of
-- the transaction that wrote both, unless one was written again: then no chunk is named, or some that may not hold the row.
SELECT r.{key}::text AS natural_key, count(*) OVER () AS record_count,
       ARRAY(SELECT c.chunk_index FROM chunk c WHERE c.delivery_id = $1 AND c.xmin = r.xmin ORDER BY 1) AS chunks
FROM {table} r WHERE r.delivery_id = $1 AND {concerned}
ORDER BY r.{key} LIMIT $4

-- name: linked_keys
-- Where the rows are gone: what relating has kept of them.
SELECT DISTINCT l.{key}::text AS natural_key FROM link l WHERE l.set_version_id = $1 AND l.{per}_reference = $2
ORDER BY 1 LIMIT $3
