-- name: start_run
INSERT INTO worker_run (run_id) VALUES ($1)

-- name: end_run
UPDATE worker_run SET ended_at = clock_timestamp() WHERE run_id = $1

-- name: find_dead_runs
-- A run whose sessions are gone without a word of farewell ended uncleanly.
UPDATE worker_run SET found_dead_at = clock_timestamp()
WHERE ended_at IS NULL AND found_dead_at IS NULL AND run_id <> $1
  AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'dataharvest ' || run_id)

-- name: any_dead_run_lately
SELECT EXISTS (SELECT FROM worker_run WHERE found_dead_at > clock_timestamp() - interval '10 minutes')

-- name: attempts
SELECT topic, topic_partition, topic_offset, attempt_count FROM attempt

-- name: forget_old_attempts
-- What ended its workers stays known after its dead letter, until its offset is surely committed: a commit is due every few
-- seconds, and a partition that nobody has read for a day starts with three more attempts at worst.
DELETE FROM attempt a USING dead_letter l
WHERE (l.topic, l.topic_partition, l.topic_offset) = (a.topic, a.topic_partition, a.topic_offset)
  AND l.rule = 'crashed_worker' AND a.last_at < clock_timestamp() - interval '1 day'

-- name: add_attempt
INSERT INTO attempt (topic, topic_partition, topic_offset, attempt_count, last_error) VALUES ($1, $2, $3, 1, $4)
ON CONFLICT (topic, topic_partition, topic_offset)
DO UPDATE SET attempt_count = attempt.attempt_count + 1, last_error = coalesce($4, attempt.last_error),
              last_at = clock_timestamp()

-- name: remove_attempt
DELETE FROM attempt WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3)

-- name: given_up_chunks
-- A splitter that died with its worker has sent them again: another copy may lie behind the one that was dead-lettered.
SELECT DISTINCT delivery_id, chunk_index FROM dead_letter
WHERE topic = 'chunks' AND rule = 'crashed_worker' AND state <> 'replayed' AND delivery_id IS NOT NULL AND chunk_index IS NOT NULL

-- name: add_dead_letter
INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason, delivery_id, chunk_index, chunk_sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING

-- name: try_sweep
SELECT pg_try_advisory_lock(hashtext('dataharvest sweep'))

-- name: stale_readiness
SELECT DISTINCT v.tenant, v.business_date FROM readiness r JOIN set_version v USING (set_version_id)
WHERE r.sent_at IS NULL AND r.decided_at < clock_timestamp() - interval '60 seconds'

-- name: unplanned_rules
-- The readiness was sent, and nobody made batches of it.
SELECT v.tenant, v.business_date, v.version, r.rule FROM readiness r JOIN set_version v USING (set_version_id)
WHERE v.state = 'open' AND r.sent_at < clock_timestamp() - interval '120 seconds'
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = r.set_version_id AND b.rule = r.rule)

-- name: tenants_with_stale_batches
SELECT DISTINCT v.tenant FROM batch b JOIN set_version v USING (set_version_id)
WHERE b.sent_at IS NULL AND v.state = 'open' AND b.planned_at < clock_timestamp() - interval '60 seconds'

-- name: silent_batches
-- One that was dead-lettered waits for a replay, also when somebody has discarded it.
SELECT v.tenant, v.business_date, v.version, b.rule, b.batch_index AS batch, b.batch_count, b.topic_partition, b.topic_offset
FROM batch b JOIN set_version v USING (set_version_id)
WHERE v.state = 'open' AND b.sent_at < clock_timestamp() - interval '120 seconds' AND b.done_at IS NULL
  AND NOT EXISTS (SELECT FROM batch moved WHERE moved.set_version_id = b.set_version_id
                  AND greatest(moved.computed_at, moved.done_at) > clock_timestamp() - interval '120 seconds')
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.topic = 'work' AND l.topic_partition = b.topic_partition
                  AND l.topic_offset = b.topic_offset AND l.state <> 'replayed')

-- name: unsent_outbound
-- A published version has none, unless somebody took a mark away. Those of an open one are among the silent batches. What was never
-- computed is left alone: a worker that did not know the message has published its version without, and it must not come late.
SELECT v.tenant, v.business_date, v.version, b.rule, b.batch_index AS batch, b.batch_count
FROM batch b JOIN set_version v USING (set_version_id)
WHERE v.state = 'published' AND b.rule LIKE 'outbound.%' AND b.done_at IS NULL AND b.computed_at IS NOT NULL
  AND b.sent_at < clock_timestamp() - interval '60 seconds'
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.topic = 'work' AND l.topic_partition = b.topic_partition
                  AND l.topic_offset = b.topic_offset AND l.state <> 'replayed')

-- name: untold_rules
-- $1 and $2: rules and the facts they provide. Every batch is done, and the fact is not recorded.
SELECT DISTINCT ON (v.set_version_id, b.rule)
       v.tenant, v.business_date, v.version, b.rule, b.batch_index AS batch, b.batch_count
FROM set_version v JOIN batch b USING (set_version_id) JOIN unnest($1::text[], $2::text[]) AS known(rule, provides) USING (rule)
WHERE v.state = 'open'
  AND NOT EXISTS (SELECT FROM batch u WHERE u.set_version_id = b.set_version_id AND u.rule = b.rule
                  AND (u.done_at IS NULL OR greatest(u.done_at, u.sent_at) > clock_timestamp() - interval '60 seconds'))
  AND NOT EXISTS (SELECT FROM fact f WHERE f.set_version_id = b.set_version_id AND f.name = known.provides)
ORDER BY v.set_version_id, b.rule, b.batch_index

-- name: idle_sets
-- Open versions with nothing to do and nothing sent: somebody has to decide what comes next.
SELECT DISTINCT v.tenant, v.business_date FROM set_version v
WHERE v.state = 'open' AND v.created_at < clock_timestamp() - interval '60 seconds'
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = v.set_version_id
                  AND (b.done_at IS NULL OR b.done_at > clock_timestamp() - interval '60 seconds'))
  AND NOT EXISTS (SELECT FROM readiness r WHERE r.set_version_id = v.set_version_id
                  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = r.set_version_id AND b.rule = r.rule))

-- name: unread_deliveries
-- A splitter let its lease lapse; or something waits although nothing at all is being read, so that nobody can have been told.
SELECT count(*) AS delivery_count,
       coalesce(min(d.lease_until) < clock_timestamp() - interval '30 seconds', false) AS is_held
FROM delivery d
WHERE d.state IN ('registered', 'waiting', 'splitting')
  AND NOT EXISTS (SELECT FROM tenant_pause p WHERE p.tenant = d.tenant)
  AND (d.lease_until < clock_timestamp()
       OR (d.lease_until IS NULL AND greatest(d.registered_at, d.next_try_at) < clock_timestamp() - interval '60 seconds'
           AND NOT EXISTS (SELECT FROM delivery busy WHERE busy.state = 'splitting' AND busy.lease_until >= clock_timestamp())))

-- name: wake_splitters
SELECT pg_notify('delivery_registered', '')

-- name: untold_deliveries
-- Every chunk is stored and nobody concluded it; what does not add up stays as it is.
SELECT d.delivery_id, d.tenant, d.business_date, d.entity, d.state, d.chunk_count, d.traceparent FROM delivery d
WHERE d.state = 'sealed' AND d.announced_at < clock_timestamp() - interval '60 seconds'
  AND d.failure->>'rule' IS DISTINCT FROM 'conservation'
  AND d.chunk_count = (SELECT count(*) FROM chunk c WHERE c.delivery_id = d.delivery_id)
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id
                  AND c.committed_at > clock_timestamp() - interval '60 seconds')

-- name: gaps
-- A chunk that was dead-lettered is no gap: it waits for a replay. Only one whose bytes were damaged on the way is read again.
SELECT d.* FROM delivery d
WHERE d.state = 'sealed' AND d.sealed_at < clock_timestamp() - interval '120 seconds'
  AND NOT EXISTS (SELECT FROM tenant_pause p WHERE p.tenant = d.tenant)
  AND d.chunk_count > (SELECT count(*) FROM (
      SELECT chunk_index FROM chunk c WHERE c.delivery_id = d.delivery_id
      UNION SELECT chunk_index FROM dead_letter l
      WHERE l.delivery_id = d.delivery_id AND l.chunk_index IS NOT NULL AND l.rule <> 'chunk_damaged'
        AND l.state <> 'replayed') known)
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id
                  AND c.committed_at > clock_timestamp() - interval '120 seconds')

-- name: cutoffs
-- The newest contract of each tenant, if it has a cut-off, and since when one has.
SELECT newest.tenant, newest.content,
       (SELECT min(applied_at) FROM contract c WHERE c.tenant = newest.tenant
        AND jsonb_typeof(c.content->'cutoff') = 'object') AS since
FROM (SELECT DISTINCT ON (tenant) tenant, content FROM contract ORDER BY tenant, version DESC) newest
WHERE jsonb_typeof(newest.content->'cutoff') = 'object'

-- name: mark_late
-- $3: when it was due. A set that nobody has sent a file of is late too.
INSERT INTO business_set (tenant, business_date, late_at)
SELECT $1::text, $2::date, $3::timestamptz
WHERE NOT EXISTS (SELECT FROM set_version v WHERE v.tenant = $1::text AND v.business_date = $2::date
                  AND v.created_at <= $3::timestamptz)
ON CONFLICT (tenant, business_date) DO UPDATE SET late_at = excluded.late_at WHERE business_set.late_at IS NULL
RETURNING tenant

-- name: clock
SELECT clock_timestamp()

-- name: end_frozen_sessions
-- In a transaction, and the server has been waiting for the client: a worker that was stopped, or cut off without a word.
SELECT pg_terminate_backend(pid), application_name, extract(epoch FROM clock_timestamp() - state_change)::int AS silent_s
FROM pg_stat_activity
WHERE application_name LIKE 'dataharvest %' AND datname = current_database() AND pid <> pg_backend_pid()
  AND xact_start IS NOT NULL AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '30 seconds'
