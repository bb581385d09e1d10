-- name: lock_set
INSERT INTO business_set (tenant, business_date) VALUES ($1, $2)
ON CONFLICT (tenant, business_date) DO UPDATE SET tenant = excluded.tenant

-- name: insert
-- Seen again it changes nothing, but its number is given: whoever crashed before telling the set has to tell it now.
INSERT INTO manifest (tenant, business_date, bucket, object_key, object_identity, etag, last_modified, state, content, failure)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (bucket, object_key, object_identity) DO UPDATE SET etag = excluded.etag
RETURNING manifest_id

-- name: unannounced
SELECT tenant, business_date, manifest_id FROM manifest
WHERE announced_at IS NULL AND registered_at <= clock_timestamp() - make_interval(secs => $1)
ORDER BY manifest_id

-- name: announced
UPDATE manifest SET announced_at = clock_timestamp() WHERE manifest_id = $1

-- name: newest
-- Object stores keep whole seconds, so the order of registration breaks ties.
SELECT content FROM manifest
WHERE tenant = $1 AND business_date = $2 AND state = 'read'
ORDER BY last_modified DESC, object_key DESC, manifest_id DESC LIMIT 1

-- name: newest_put_at
SELECT max(last_modified) FROM manifest WHERE tenant = $1 AND business_date = $2 AND state = 'read'

-- name: known
-- The newest of each key only: an older content that came back is another upload.
SELECT DISTINCT ON (object_key) object_key, etag FROM manifest WHERE bucket = $1 AND object_key = ANY($2)
ORDER BY object_key, last_modified DESC, manifest_id DESC

-- name: of_sets
-- For the status report: every manifest of these sets, the newest last.
SELECT tenant, business_date, manifest_id, object_key, state, failure, last_modified, registered_at FROM manifest
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date[] IS NULL OR business_date = ANY($2))
  AND ($3::text[] IS NULL OR (tenant, business_date) IN (SELECT * FROM unnest($3, $4::date[])))
ORDER BY tenant, business_date, last_modified, object_key, manifest_id

-- name: delivery_totals
SELECT delivery_id, entity, record_count, persisted_count, sums, object_sha256, content_sha256
FROM delivery WHERE delivery_id = ANY($1)
