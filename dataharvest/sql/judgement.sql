-- name: lock_delivery
SELECT * FROM delivery WHERE delivery_id = $1 FOR UPDATE

-- name: ledger
SELECT byte_offset, byte_length, record_count, persisted_count, quarantined_count, duplicate_count, accepted_count
FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index

-- name: begin
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

-- name: judged_in_steps
UPDATE delivery SET judged_in_steps = true WHERE delivery_id = $1 AND NOT judged_in_steps

-- name: lock_set
SELECT tenant FROM business_set WHERE tenant = $1 AND business_date = $2 FOR UPDATE

-- name: complete
-- An older delivery that is done after a newer one was is history at once. What comes next in the transaction, if anything does, is planned
-- as a decision is.
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
RETURNING d.state, set_config('plan_cache_mode', 'force_generic_plan', true)

-- name: forget
-- What was kept of a delivery from one step to the next.
WITH copies AS (DELETE FROM judgement_copy WHERE delivery_id = $1),
     keys AS (DELETE FROM judgement_key WHERE delivery_id = $1),
     decided AS (DELETE FROM judgement_decision WHERE delivery_id = $1),
     readings AS (DELETE FROM judgement_reading WHERE delivery_id = $1),
     named AS (DELETE FROM judgement_named WHERE delivery_id = $1)
DELETE FROM judgement_slice WHERE delivery_id = $1

-- name: forget_concluded
-- Of deliveries that were rejected or superseded in between, or judged by a worker of an older version. Steps are kept of a delivery only
-- while it is being judged, and nothing lets it be judged again. One that does not add up stays as it is, and may be gone on with once
-- the message is replayed; where a newer one has replaced it, whatever is found then is history.
-- Where there is anything there is a slice, a decision or a key; of keys, which may be millions, the index says of which deliveries.
WITH RECURSIVE of_keys AS (
    SELECT min(delivery_id) AS delivery_id FROM judgement_key
    UNION ALL
    SELECT (SELECT min(delivery_id) FROM judgement_key WHERE delivery_id > o.delivery_id) FROM of_keys o WHERE o.delivery_id IS NOT NULL),
kept AS (
    SELECT delivery_id FROM judgement_slice UNION SELECT delivery_id FROM judgement_decision UNION SELECT delivery_id FROM of_keys),
replaced AS (
    -- One whose row is locked is being gone on with now.
    SELECT d.delivery_id FROM kept JOIN delivery d USING (delivery_id)
    WHERE d.state = 'judging' AND d.failure->>'rule' = 'conservation'
      AND EXISTS (
          SELECT FROM delivery newer
          WHERE (newer.tenant, newer.business_date, newer.entity) = (d.tenant, d.business_date, d.entity)
            AND newer.state = 'complete'
            AND (newer.last_modified, newer.object_key, newer.delivery_id) > (d.last_modified, d.object_key, d.delivery_id))
    FOR KEY SHARE OF d SKIP LOCKED),
concluded AS (
    SELECT delivery_id FROM kept k
    WHERE delivery_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM delivery d WHERE d.delivery_id = k.delivery_id AND d.state = 'judging')
    UNION ALL
    SELECT delivery_id FROM replaced),
slices AS (DELETE FROM judgement_slice WHERE delivery_id IN (SELECT delivery_id FROM concluded)),
copies AS (DELETE FROM judgement_copy WHERE delivery_id IN (SELECT delivery_id FROM concluded)),
keys AS (DELETE FROM judgement_key WHERE delivery_id IN (SELECT delivery_id FROM concluded)),
decided AS (DELETE FROM judgement_decision WHERE delivery_id IN (SELECT delivery_id FROM concluded)),
readings AS (DELETE FROM judgement_reading WHERE delivery_id IN (SELECT delivery_id FROM concluded)),
named AS (DELETE FROM judgement_named WHERE delivery_id IN (SELECT delivery_id FROM concluded))
SELECT count(*) FROM concluded
