-- name: lock_set
INSERT INTO business_set (tenant, business_date) VALUES ($1, $2)
ON CONFLICT (tenant, business_date) DO UPDATE SET tenant = excluded.tenant

-- name: lock_known_set
-- Of a delivery that is registered.
SELECT tenant FROM business_set WHERE tenant = $1 AND business_date = $2 FOR UPDATE

-- name: register
-- $14: the newest delivery of the key, after which a content that is known came back; its identity gets a number. The splitters are
-- woken once it is committed.
-- The set is locked first, so that a decision and a registration follow each other. A newer delivery that was sealed during the wait is
-- not seen: this one is read then, and is history when it is complete.
WITH known_set AS (
    INSERT INTO business_set (tenant, business_date) VALUES ($1, $2)
    ON CONFLICT (tenant, business_date) DO UPDATE SET tenant = excluded.tenant
    RETURNING tenant),
registered AS (
INSERT INTO delivery (tenant, business_date, entity, bucket, object_key, object_identity, version_id, etag,
                      last_modified, size_bytes, chunk_bytes, splitter_version, contract_version, traceparent, state)
SELECT $1, $2, $3, $4, $5,
       CASE WHEN $14::bigint IS NULL THEN $6 ELSE $6 || '#' || (
           SELECT count(*) + 1 FROM delivery known WHERE (known.bucket, known.object_key) = ($4, $5)
             AND (known.object_identity = $6 OR starts_with(known.object_identity, $6 || '#'))) END,
       $7, $8, $9, $10, $11, $12, $13, $15,
       CASE WHEN EXISTS (
           SELECT FROM delivery newer
           WHERE (newer.tenant, newer.business_date, newer.entity) = ($1, $2, $3)
             -- One that nobody has read to its end may turn out to be no file. A repeat says that the content it repeats is the
             -- newest still.
             AND newer.state IN ('sealed', 'judging', 'complete', 'repeat')
             AND (newer.last_modified, newer.object_key) > ($9, $5)
       ) THEN 'superseded' ELSE 'registered' END
FROM known_set
WHERE $14::bigint IS NULL OR $14 = (
    SELECT newest.delivery_id FROM delivery newest WHERE (newest.bucket, newest.object_key) = ($4, $5)
    ORDER BY newest.last_modified DESC, newest.delivery_id DESC LIMIT 1)
ON CONFLICT (bucket, object_key, object_identity) DO NOTHING
RETURNING delivery_id)
SELECT delivery_id, pg_notify('delivery_registered', '') FROM registered

-- name: newest_of_key
SELECT delivery_id, etag, last_modified FROM delivery WHERE (bucket, object_key) = ($1, $2)
ORDER BY last_modified DESC, delivery_id DESC LIMIT 1

-- name: note_trace
UPDATE delivery SET traceparent = $2 WHERE delivery_id = $1

-- name: register_rejected
INSERT INTO delivery (tenant, bucket, object_key, object_identity, version_id, etag, last_modified, size_bytes,
                      chunk_bytes, splitter_version, state, failure, announced_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 'rejected', $9, now())
ON CONFLICT (bucket, object_key, object_identity) DO NOTHING
RETURNING delivery_id

-- name: wake_splitters
SELECT pg_notify('delivery_registered', '')

-- name: lease
-- $1 owner, $2 length, $3 how many of a tenant's deliveries may be read at once, $4 whether the owner reads nothing else: only
-- then, and then first, it gets one that the death of one more reader would condemn, so that no other is blamed with it. The tenant with the fewest deliveries under way
-- comes first, then the oldest delivery; a tenant whose deliveries another splitter reads, or that is paused, waits.
-- Everything above is judged by what the statement saw when it began; `claim` then fails if anybody else has leased one of this
-- tenant's deliveries since: `contended` says so.
-- What is being read is few, and is counted once, not for every delivery that waits.
WITH leased AS MATERIALIZED (
    SELECT busy.tenant, count(*) AS own, count(*) FILTER (WHERE busy.lease_owner <> $1) AS others FROM delivery busy
    WHERE busy.state = 'splitting' AND busy.lease_until >= clock_timestamp() GROUP BY busy.tenant),
free AS (
    SELECT one.delivery_id, one.tenant, coalesce(t.turn, 0) AS turn
    FROM delivery one LEFT JOIN tenant_turn t USING (tenant) LEFT JOIN leased USING (tenant)
    WHERE one.state IN ('registered', 'waiting', 'splitting')
      AND (one.lease_until IS NULL OR one.lease_until < clock_timestamp())
      AND (one.next_try_at IS NULL OR one.next_try_at <= clock_timestamp())
      AND coalesce(leased.others, 0) = 0 AND coalesce(leased.own, 0) < $3
      AND NOT EXISTS (SELECT FROM tenant_pause p WHERE p.tenant = one.tenant)
      AND ($4 OR one.crash_count + (one.lease_until IS NOT NULL)::integer < 2)
    ORDER BY one.crash_count + (one.lease_until IS NOT NULL)::integer >= 2 DESC, coalesce(leased.own, 0), one.registered_at,
             one.delivery_id
    LIMIT 1
    FOR UPDATE OF one SKIP LOCKED),
claim AS (
    INSERT INTO tenant_turn (tenant, turn) SELECT tenant, turn + 1 FROM free
    ON CONFLICT (tenant) DO UPDATE SET turn = excluded.turn WHERE tenant_turn.turn = excluded.turn - 1
    RETURNING tenant),
taken AS (
    UPDATE delivery
    SET state = 'splitting', lease_owner = $1, lease_epoch = lease_epoch + 1, attempts = attempts + 1, failure = NULL,
        lease_until = clock_timestamp() + make_interval(secs => $2), chunks_at_lease = stored.chunks,
        -- A lease that lapsed and whose owner has no session is one whose reader died.
        crash_count = CASE
            WHEN stored.chunks > delivery.chunks_at_lease THEN 0
            WHEN delivery.lease_until IS NOT NULL
                 AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'dataharvest ' || delivery.lease_owner)
            THEN delivery.crash_count + 1 ELSE delivery.crash_count END
    FROM free, claim, LATERAL (SELECT count(*) AS chunks FROM chunk WHERE chunk.delivery_id = free.delivery_id) stored
    WHERE delivery.delivery_id = free.delivery_id
    RETURNING delivery.*)
SELECT taken.*, taken.delivery_id IS NULL AS contended FROM free LEFT JOIN taken USING (delivery_id)

-- name: renew
-- One that has lapsed can't be renewed once another splitter reads for the tenant.
UPDATE delivery SET lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE delivery_id = $1 AND lease_epoch = $2 AND state = 'splitting'
  AND NOT EXISTS (
      SELECT FROM delivery other
      WHERE other.tenant = delivery.tenant AND other.state = 'splitting' AND other.lease_until >= clock_timestamp()
        AND other.lease_owner <> delivery.lease_owner)
RETURNING delivery_id

-- name: release
UPDATE delivery SET lease_until = NULL WHERE delivery_id = $1 AND lease_epoch = $2 AND state = 'splitting'

-- name: put_aside
UPDATE delivery SET state = 'waiting', lease_until = NULL, failure = $3,
       next_try_at = clock_timestamp() + make_interval(secs => least(600, 2 ^ least(attempts, 12)))
WHERE delivery_id = $1 AND lease_epoch = $2 AND state = 'splitting'

-- name: newer_known
SELECT EXISTS (
    SELECT FROM delivery newer
    WHERE (newer.tenant, newer.business_date, newer.entity) = ($1, $2, $3)
      AND newer.state IN ('sealed', 'judging', 'complete', 'repeat')
      AND (newer.last_modified, newer.object_key, newer.delivery_id) > ($4, $5, $6))

-- name: older_waiting
SELECT old.delivery_id FROM delivery old, delivery new
WHERE new.delivery_id = $1 AND old.state = 'waiting'
  AND (old.tenant, old.business_date, old.entity) = (new.tenant, new.business_date, new.entity)
  AND (old.last_modified, old.object_key, old.delivery_id) < (new.last_modified, new.object_key, new.delivery_id)
FOR UPDATE OF old

-- name: settled_chunks
-- Stored or dead-lettered. A message that was damaged on the way says nothing of the chunk itself.
SELECT chunk_index, sha256 FROM chunk WHERE delivery_id = $1
UNION ALL
SELECT DISTINCT ON (chunk_index) chunk_index, chunk_sha256 FROM dead_letter l
WHERE l.delivery_id = $1 AND l.chunk_index IS NOT NULL AND l.rule <> 'chunk_damaged' AND l.state <> 'replayed'
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = l.delivery_id AND c.chunk_index = l.chunk_index)

-- name: note_sent
UPDATE delivery SET sent_offsets = $3 WHERE delivery_id = $1 AND lease_epoch = $2

-- name: note_gap
UPDATE delivery SET failure = $2
WHERE delivery_id = $1 AND state = 'sealed' AND failure IS DISTINCT FROM $2 AND failure->>'rule' IS DISTINCT FROM 'conservation'

-- name: stored_chunk_count
SELECT count(*) FROM chunk WHERE delivery_id = $1

-- name: lock_leased
SELECT * FROM delivery WHERE delivery_id = $1 AND lease_epoch = $2 AND state = 'splitting' FOR UPDATE

-- name: set_of
SELECT tenant, business_date FROM delivery WHERE delivery_id = $1 AND business_date IS NOT NULL

-- name: revive_repeat
-- What a delivery that is rejected was repeated by has to be read after all: the newest of them, and the others repeat that one.
WITH revived AS (
    UPDATE delivery
    SET state = 'registered', repeat_of = NULL, content_sha256 = NULL, completed_at = NULL, announced_at = NULL, attempts = 0,
        crash_count = 0, chunks_at_lease = 0, next_try_at = NULL, sent_offsets = '{}'
    WHERE delivery_id = (SELECT delivery_id FROM delivery WHERE repeat_of = $1 AND state = 'repeat'
                         ORDER BY last_modified DESC, object_key DESC, delivery_id DESC LIMIT 1)
    RETURNING delivery_id),
followed AS (
    UPDATE delivery SET repeat_of = revived.delivery_id FROM revived
    WHERE delivery.repeat_of = $1 AND delivery.delivery_id <> revived.delivery_id)
SELECT delivery_id FROM revived

-- name: lock_delivery
SELECT * FROM delivery WHERE delivery_id = $1 FOR UPDATE

-- name: newest_content
-- One that is still being read counts too: its content is not known yet, so nothing can be a repeat of it. $5: the same content
-- read under another contract may hold other records, so it is no repeat.
SELECT delivery_id, content_sha256, contract_version = $5 AS is_read_alike FROM delivery
WHERE (tenant, business_date, entity) = ($1, $2, $3) AND delivery_id <> $4
  AND state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')
  -- One whose counts do not add up, or whose lost chunks can't be read again, never comes to count: the same file again is its
  -- repair.
  AND coalesce(failure ->> 'rule', '') <> 'conservation'
  AND NOT (state = 'sealed' AND coalesce(failure ->> 'rule', '') IN ('object_404', 'object_412'))
ORDER BY last_modified DESC, object_key DESC, delivery_id DESC
LIMIT 1

-- name: seal
UPDATE delivery
SET state = 'sealed', sealed_at = clock_timestamp(), lease_until = NULL, content_sha256 = $2, content_start = $3,
    content_end = $4, chunk_count = $5, ignored_columns = $6, object_sha256 = $7, announced_at = NULL
WHERE delivery_id = $1

-- name: seal_at_once
-- The same of a delivery besides which there is none of its entity that may count: it repeats nothing, and nothing waits that it
-- replaces. The set is locked first; who comes during the wait, and is not seen, is sealed after this and sees it.
WITH known_set AS MATERIALIZED (
    SELECT s.tenant, s.business_date FROM business_set s WHERE (s.tenant, s.business_date) = ($11, $12) FOR UPDATE)
UPDATE delivery one
SET state = 'sealed', sealed_at = clock_timestamp(), lease_until = NULL, content_sha256 = $2, content_start = $3,
    content_end = $4, chunk_count = $5, ignored_columns = $6, object_sha256 = $7, sent_offsets = coalesce($9, sent_offsets),
    traceparent = coalesce($10, traceparent), announced_at = NULL
FROM known_set
WHERE delivery_id = $1 AND lease_epoch = $8 AND state = 'splitting' AND (one.tenant, one.business_date) = (known_set.tenant, known_set.business_date)
  AND NOT EXISTS (
      SELECT FROM delivery other
      WHERE (other.tenant, other.business_date, other.entity) = (one.tenant, one.business_date, one.entity)
        AND other.delivery_id <> one.delivery_id
        AND other.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete'))
RETURNING delivery_id

-- name: end_delivery
UPDATE delivery
SET state = $2, failure = $3, repeat_of = $4, content_sha256 = coalesce($5, content_sha256), lease_until = NULL,
    completed_at = clock_timestamp(), announced_at = NULL, record_count = NULL, persisted_count = NULL,
    quarantined_count = NULL, duplicate_count = NULL, accepted_count = NULL
WHERE delivery_id = $1

-- name: plan_for_rows
SET LOCAL plan_cache_mode = auto

-- name: remove_chunks
DELETE FROM chunk WHERE delivery_id = $1

-- name: remove_quarantine
DELETE FROM quarantine WHERE delivery_id = $1

-- name: unannounced
SELECT * FROM delivery
WHERE announced_at IS NULL AND state NOT IN ('registered', 'waiting', 'splitting')
ORDER BY delivery_id LIMIT 100

-- name: announced
UPDATE delivery SET announced_at = clock_timestamp() WHERE delivery_id = ANY($1)

-- name: known_identities
-- The newest of each key only: an older content that came back is another upload.
SELECT DISTINCT ON (object_key) object_key, etag FROM delivery WHERE bucket = $1 AND object_key = ANY($2)
ORDER BY object_key, last_modified DESC, delivery_id DESC
