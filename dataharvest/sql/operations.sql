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

-- name: add_attempt
INSERT INTO attempt (topic, topic_partition, topic_offset, attempt_count, last_error) VALUES ($1, $2, $3, 1, $4)
ON CONFLICT (topic, topic_partition, topic_offset)
DO UPDATE SET attempt_count = attempt.attempt_count + 1, last_error = coalesce($4, attempt.last_error),
              last_at = clock_timestamp()

-- name: remove_attempt
DELETE FROM attempt WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3)

-- name: add_dead_letter
INSERT INTO dead_letter (topic, topic_partition, topic_offset, stage, rule, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- name: try_sweep
SELECT pg_try_advisory_lock(hashtext('dataharvest sweep'))

-- name: end_sweep
SELECT pg_advisory_unlock(hashtext('dataharvest sweep'))

-- name: stale_readiness
SELECT DISTINCT v.tenant, v.business_date FROM readiness r JOIN set_version v USING (set_version_id)
WHERE r.sent_at IS NULL AND r.decided_at < clock_timestamp() - interval '60 seconds'

-- name: stale_batches
SELECT DISTINCT v.tenant, v.business_date, v.version, b.rule FROM batch b JOIN set_version v USING (set_version_id)
WHERE b.sent_at IS NULL AND v.state = 'open' AND b.planned_at < clock_timestamp() - interval '60 seconds'
