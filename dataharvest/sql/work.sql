-- name: record_counts
SELECT d.entity, d.persisted_count
FROM set_version v JOIN set_version_delivery USING (set_version_id) JOIN delivery d USING (delivery_id)
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3)

-- name: plan
-- $8: whether it is done by whoever plans it. It counts as sent then, so that nobody else sends it meanwhile.
INSERT INTO batch (set_version_id, rule, batch_index, batch_count, carried, only_references, sent_at)
SELECT v.set_version_id, $4, i, $5, $6, $7, CASE WHEN $8 THEN clock_timestamp() END
FROM set_version v, generate_series(0, $5 - 1) AS i
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND v.state = 'open'
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = v.set_version_id AND b.rule = $4)
ON CONFLICT DO NOTHING
RETURNING batch_index

-- name: plan_small
-- The counts of the version, and, if they are no more than $5 together, the only batch of the rule, held by whoever asks.
WITH counted AS (
    SELECT v.set_version_id, v.state, d.entity, d.persisted_count
    FROM set_version v JOIN set_version_delivery USING (set_version_id) JOIN delivery d USING (delivery_id)
    WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3)),
planned AS (
    INSERT INTO batch (set_version_id, rule, batch_index, batch_count, sent_at)
    SELECT set_version_id, $4, 0, 1, clock_timestamp() FROM counted
    WHERE state = 'open' AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = counted.set_version_id AND b.rule = $4)
    GROUP BY set_version_id HAVING sum(persisted_count) <= $5
    ON CONFLICT DO NOTHING
    RETURNING batch_index)
SELECT entity, persisted_count, EXISTS (SELECT FROM planned) AS is_planned FROM counted

-- name: release
-- Only what was never sent, and is not done.
UPDATE batch b SET sent_at = NULL FROM set_version v
WHERE v.set_version_id = b.set_version_id AND (v.tenant, v.business_date, v.version) = ($1, $2, $3)
  AND b.rule = $4 AND b.batch_index = $5 AND b.topic_offset IS NULL AND b.done_at IS NULL AND b.sent_at IS NOT NULL

-- name: is_done
SELECT b.done_at IS NOT NULL FROM batch b JOIN set_version v USING (set_version_id)
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND b.rule = $4 AND b.batch_index = $5
  AND b.batch_count = $6

-- name: unsent
SELECT b.batch_index, b.batch_count FROM batch b JOIN set_version v USING (set_version_id)
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND b.rule = $4 AND b.sent_at IS NULL AND v.state = 'open'
ORDER BY b.batch_index

-- name: any_unsent
SELECT EXISTS (SELECT FROM batch b JOIN set_version v USING (set_version_id)
               WHERE b.sent_at IS NULL AND v.state = 'open' AND v.tenant = $1)

-- name: lock_batches
SELECT pg_advisory_xact_lock(hashtext('dataharvest batches'), hashtext($1))

-- name: next_batches
-- $2: batches of the tenant that may be sent and not done at a time; one that was dead-lettered waits for a replay, not for a worker.
SELECT v.tenant, v.business_date, v.version, b.rule, b.batch_index AS batch, b.batch_count, v.traceparent
FROM batch b JOIN set_version v USING (set_version_id)
WHERE b.sent_at IS NULL AND v.state = 'open' AND v.tenant = $1
ORDER BY b.planned_at, v.version, b.rule, b.batch_index
LIMIT (SELECT greatest(0, $2::bigint - count(*)) FROM set_version w JOIN batch busy USING (set_version_id)
       WHERE w.tenant = $1 AND w.state = 'open' AND busy.sent_at IS NOT NULL AND busy.done_at IS NULL
         AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.topic = 'work' AND l.topic_partition = busy.topic_partition
                         AND l.topic_offset = busy.topic_offset))

-- name: sent
UPDATE batch b SET sent_at = clock_timestamp(), topic_partition = $6, topic_offset = $7 FROM set_version v
WHERE v.set_version_id = b.set_version_id AND (v.tenant, v.business_date, v.version) = ($1, $2, $3)
  AND b.rule = $4 AND b.batch_index = $5

-- name: settings
-- What comes next in the transaction is planned by these settings. The rows came a moment ago and have no statistics yet: the planner
-- takes thousands for a few, and a nested loop over them runs for minutes; what a batch joins is never small enough for one to be
-- worth it. A hash of them fits: spilling it to disk for every batch would cost more than the batch. And two of a tenant's batches
-- run side by side: helpers of one would cost the others more than they gain.
SELECT set_config('plan_cache_mode', 'auto', true), set_config('enable_nestloop', 'off', true),
       set_config('work_mem', '64MB', true),
       set_config('max_parallel_workers_per_gather', '0', true)

-- name: begin
-- The version may not be cancelled while its batch is computed.
{settings},
       v.set_version_id, v.state, b.computed_at, b.done_at, v.base_version_id, b.carried, b.only_references,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       -- A set is judged as the newest contract among its deliveries' says.
       (SELECT max(contract_version) FROM set_version_delivery d JOIN delivery USING (delivery_id)
        WHERE d.set_version_id = v.set_version_id) AS contract_version,
       EXISTS (SELECT FROM fact f WHERE f.set_version_id = v.set_version_id AND f.name = 'relation_established')
           AND NOT EXISTS (SELECT FROM orphan_count o WHERE o.set_version_id = v.set_version_id) AS all_linked
FROM set_version v JOIN batch b USING (set_version_id)
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND b.rule = $4 AND b.batch_index = $5
FOR SHARE OF v FOR UPDATE OF b

-- name: computed
-- Values that were taken over were made by what the base says, whoever took them. Where a part was taken over and a part made by another
-- declaration, as by workers of two versions of the program, there is none that made it all.
-- $5: whether nothing is left to do for it. Nobody has to send it any more then, if it was done at once. $6: the fact that holds once the
-- only batch of its rule is done. What comes next in the transaction, if anything does, is planned as a decision is.
WITH marked AS (
    UPDATE batch b SET computed_at = clock_timestamp(),
           done_at = CASE WHEN $5 THEN coalesce(done_at, clock_timestamp()) ELSE done_at END,
           sent_at = CASE WHEN $5 THEN coalesce(sent_at, clock_timestamp()) ELSE sent_at END,
           made_by = CASE WHEN b.carried = '{}' OR $4 = base.made_by THEN $4 WHEN 'values' = ANY(b.carried) THEN base.made_by END
    FROM set_version v, LATERAL (
        SELECT min(o.made_by) AS made_by FROM batch o WHERE o.set_version_id = v.base_version_id AND o.rule = $2) base
    WHERE v.set_version_id = b.set_version_id AND (b.set_version_id, b.rule, b.batch_index) = ($1, $2, $3)
    RETURNING v.set_version_id, v.state, b.batch_count),
held AS (
    INSERT INTO fact (set_version_id, name)
    SELECT set_version_id, $6 FROM marked WHERE $5 AND $6::text IS NOT NULL AND batch_count = 1 AND state = 'open'
    ON CONFLICT DO NOTHING)
SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_nestloop', 'on', true)

-- name: carry_values
INSERT INTO value (set_version_id, transformer, logic_version, reference, fields)
SELECT $1, transformer, logic_version, reference, fields FROM value WHERE set_version_id = $2 AND transformer = $3
  AND abs(hashtext(reference::text)::bigint) % $5 = $4

-- name: done
-- One that was done at once was never sent; nobody has to send it any more. $4: as of `computed`.
WITH marked AS (
    UPDATE batch b SET done_at = coalesce(done_at, clock_timestamp()), sent_at = coalesce(sent_at, clock_timestamp())
    FROM set_version v
    WHERE v.set_version_id = b.set_version_id AND (b.set_version_id, b.rule, b.batch_index) = ($1, $2, $3)
    RETURNING v.set_version_id, v.state, b.batch_count)
INSERT INTO fact (set_version_id, name)
SELECT set_version_id, $4 FROM marked WHERE $4::text IS NOT NULL AND batch_count = 1 AND state = 'open'
ON CONFLICT DO NOTHING

-- name: last_outbound
-- The newest message of each key, of any older version, that belongs to this slice.
-- Version by version, for of a first one nothing at all should be read: the planner takes an array of none for one of ten.
SELECT DISTINCT ON (m.reference) m.reference, m.message_id, m.content_sha256, m.withdrawn
FROM set_version v CROSS JOIN LATERAL (
    SELECT o.reference, o.message_id, o.content_sha256, o.withdrawn FROM outbound_message o
    WHERE o.set_version_id = v.set_version_id AND o.kind = $3
      AND ($6 = 1 OR abs(hashtext(o.reference::text)::bigint) % $6 = $5)
      AND ($7::uuid[] IS NULL OR o.reference = ANY($7))
    OFFSET 0) m
WHERE v.tenant = $1 AND v.business_date = $2 AND v.version < $4
ORDER BY m.reference, v.version DESC

-- name: unsent_outbound
-- All of a batch, until it is done.
SELECT message_id, reference, payload FROM outbound_message
WHERE set_version_id = $1 AND kind = $2::text AND batch_index = $3
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = $1 AND b.rule = 'outbound.' || $2::text AND b.batch_index = $3
                  AND b.done_at IS NOT NULL)
ORDER BY message_id

-- name: block
UPDATE set_version SET state = 'blocked', failure = $2 WHERE set_version_id = $1
