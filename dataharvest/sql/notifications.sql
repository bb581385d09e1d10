-- name: add
INSERT INTO notification (notification_id, tenant, business_date, kind, version, reason, traceparent)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

-- name: to_send
-- Whoever else looks now gets others.
SELECT notification_id, tenant, business_date, kind, version, reason, created_at, traceparent FROM notification
WHERE sent_at IS NULL AND created_at <= clock_timestamp() - make_interval(secs => $2) ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED

-- name: sent
UPDATE notification SET sent_at = clock_timestamp() WHERE notification_id = $1

-- name: queue_call
INSERT INTO webhook_call (notification_id, tenant, payload) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: claim
-- The oldest call that is due of each tenant of which none is under way. $1: how many; $2: for how long they are held.
UPDATE webhook_call c
SET attempt_count = c.attempt_count + 1, held_until = clock_timestamp() + make_interval(secs => $2)
FROM (SELECT DISTINCT ON (w.tenant) w.notification_id FROM webhook_call w
      WHERE w.state = 'waiting' AND w.next_try_at <= clock_timestamp()
        AND NOT EXISTS (SELECT FROM webhook_call held WHERE held.tenant = w.tenant AND held.state = 'waiting'
                        AND held.held_until >= clock_timestamp())
      ORDER BY w.tenant, w.queued_at LIMIT $1) due
WHERE c.notification_id = due.notification_id AND c.state = 'waiting'
  AND coalesce(c.held_until, '-infinity') < clock_timestamp()
RETURNING c.notification_id, c.tenant, c.payload, c.attempt_count,
          extract(epoch FROM clock_timestamp() - c.queued_at)::float8 AS age_s

-- name: accepted
UPDATE webhook_call SET state = 'accepted', held_until = NULL, last_failure = NULL, ended_at = clock_timestamp()
WHERE notification_id = $1

-- name: failed
UPDATE webhook_call
SET held_until = NULL, last_failure = $2, next_try_at = clock_timestamp() + make_interval(secs => $3)
WHERE notification_id = $1 AND state = 'waiting'

-- name: given_up
UPDATE webhook_call SET state = 'given_up', held_until = NULL, last_failure = $2, ended_at = clock_timestamp()
WHERE notification_id = $1 AND state = 'waiting'

-- name: retry
UPDATE webhook_call
SET state = 'waiting', queued_at = clock_timestamp(), next_try_at = clock_timestamp(), attempt_count = 0, ended_at = NULL
WHERE state <> 'accepted' AND ($1::text IS NULL OR tenant = $1) RETURNING notification_id

-- name: list_calls
SELECT w.notification_id, w.tenant, n.business_date, n.kind, w.state, w.attempt_count, w.queued_at, w.next_try_at, w.last_failure
FROM webhook_call w LEFT JOIN notification n USING (notification_id)
WHERE w.state <> 'accepted' AND ($1::text IS NULL OR w.tenant = $1) ORDER BY w.queued_at LIMIT 200

-- name: accepted_count
SELECT count(*) FROM webhook_call WHERE state = 'accepted' AND ($1::text IS NULL OR tenant = $1)
