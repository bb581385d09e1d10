-- name: sets
-- $3 and $4, here and below: tenants and business dates of single sets, position by position.
SELECT tenant, business_date, problem, late_at, edition FROM business_set
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date[] IS NULL OR business_date = ANY($2))
  AND ($3::text[] IS NULL OR (tenant, business_date) IN (SELECT * FROM unnest($3, $4::date[])))
ORDER BY tenant, business_date

-- name: deliveries
-- $5: deliveries shown whatever the others say. Chunks are counted only while a delivery moves; afterwards it knows its sums.
-- Found in three ways, for one condition that says it all could use no index.
WITH wanted AS (
    SELECT delivery_id FROM delivery
    WHERE $3::text[] IS NULL AND ($1::text IS NULL OR tenant = $1) AND ($2::date[] IS NULL OR business_date = ANY($2))
    UNION SELECT delivery_id FROM unnest($3::text[], $4::date[]) AS one(tenant, business_date) JOIN delivery USING (tenant, business_date)
    UNION SELECT unnest($5::bigint[]))
SELECT d.delivery_id, d.tenant, d.business_date, d.entity, d.object_key, d.state, d.last_modified, d.size_bytes, d.chunk_bytes,
       d.failure, d.repeat_of, d.ignored_columns, d.registered_at, d.completed_at, d.chunk_count, d.contract_version,
       d.next_try_at, live.first_chunk_at,
       coalesce(live.chunks, d.chunk_count, 0) AS stored_chunk_count,
       coalesce(d.record_count, live.record_count, 0) AS record_count,
       coalesce(d.persisted_count, live.persisted_count, 0) AS persisted_count,
       coalesce(d.quarantined_count, live.quarantined_count, 0) AS quarantined_count,
       coalesce(d.duplicate_count, live.duplicate_count, 0) AS duplicate_count,
       coalesce(d.accepted_count, live.accepted_count, 0) AS accepted_count,
       CASE WHEN d.quarantined_count > 0 THEN
           (SELECT coalesce(sum(q.record_count), 0) FROM quarantine q WHERE q.delivery_id = d.delivery_id AND q.state = 'open')
       ELSE 0 END AS open_quarantine,
       d.failure->>'rule' IS NOT DISTINCT FROM 'conservation' AS is_broken,
       dead.dead_letter_count, dead.dead_letter_index, dead.dead_letter_rule, dead.dead_letter_is_discarded, dead.dead_letter_names,
       (SELECT p.reason FROM tenant_pause p WHERE p.tenant = d.tenant) AS pause_reason
FROM wanted JOIN delivery d USING (delivery_id)
LEFT JOIN LATERAL (
    SELECT count(*) AS chunks, min(committed_at) AS first_chunk_at,
           sum(record_count)::bigint AS record_count, sum(persisted_count)::bigint AS persisted_count,
           sum(quarantined_count)::bigint AS quarantined_count, sum(duplicate_count)::bigint AS duplicate_count,
           sum(accepted_count)::bigint AS accepted_count
    FROM chunk WHERE chunk.delivery_id = d.delivery_id
    HAVING d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging')) live ON true
-- What of the delivery was dead-lettered and not replayed, a letter for each message; what nobody has discarded comes first, and
-- discarded letters are named only where there are no others.
LEFT JOIN LATERAL (
    SELECT count(*) AS dead_letter_count, coalesce(bool_and(is_discarded), false) AS dead_letter_is_discarded,
           (array_agg(chunk_index ORDER BY is_discarded, chunk_index))[1] AS dead_letter_index,
           (array_agg(rule ORDER BY is_discarded, chunk_index))[1] AS dead_letter_rule,
           (coalesce(array_agg(name ORDER BY chunk_index) FILTER (WHERE NOT is_discarded),
                     array_agg(name ORDER BY chunk_index), '{}'))[1:20] AS dead_letter_names
    FROM (SELECT DISTINCT ON (l.topic, l.chunk_index) l.chunk_index, l.rule, l.state = 'discarded' AS is_discarded,
                 format('%s:%s:%s', l.topic, l.topic_partition, l.topic_offset) AS name
          FROM dead_letter l
          WHERE l.delivery_id = d.delivery_id AND l.state <> 'replayed' AND CASE
              WHEN l.chunk_index IS NULL THEN d.state = 'judging' AND l.failed_at > d.sealed_at
              ELSE d.state IN ('registered', 'waiting', 'splitting', 'sealed') AND l.rule <> 'chunk_damaged'
                  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = l.delivery_id AND c.chunk_index = l.chunk_index) END
          ORDER BY l.topic, l.chunk_index, l.state = 'discarded', l.failed_at) letter
) dead ON true
ORDER BY d.tenant, d.business_date, d.entity, d.delivery_id

-- name: versions
SELECT v.tenant, v.business_date, v.set_version_id, v.version, v.state, v.edition, v.failure, v.published_at,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       ARRAY(SELECT name FROM fact f WHERE f.set_version_id = v.set_version_id) AS facts,
       ARRAY(SELECT rule FROM readiness r WHERE r.set_version_id = v.set_version_id) AS announced
FROM set_version v
WHERE ($1::text IS NULL OR v.tenant = $1) AND ($2::date[] IS NULL OR v.business_date = ANY($2))
  AND ($3::text[] IS NULL OR (v.tenant, v.business_date) IN (SELECT * FROM unnest($3, $4::date[])))
ORDER BY v.tenant, v.business_date, v.version

-- name: batches
-- A batch whose message was dead-lettered waits until that is replayed, discarded or not; then its message is another.
SELECT b.set_version_id, b.rule, count(b.done_at) AS done_count, max(b.batch_count) AS batch_count, min(b.planned_at) AS since,
       count(l.rule) AS dead_letter_count, coalesce(bool_and(l.is_discarded), false) AS dead_letter_is_discarded,
       (array_agg(l.rule ORDER BY l.is_discarded, b.batch_index) FILTER (WHERE l.rule IS NOT NULL))[1] AS dead_letter_rule,
       (coalesce(array_agg(l.name ORDER BY b.batch_index) FILTER (WHERE NOT l.is_discarded),
                 array_agg(l.name ORDER BY b.batch_index) FILTER (WHERE l.rule IS NOT NULL), '{}'))[1:20] AS dead_letter_names
FROM batch b
LEFT JOIN LATERAL (
    SELECT rule, state = 'discarded' AS is_discarded, format('%s:%s:%s', topic, topic_partition, topic_offset) AS name
    FROM dead_letter
    WHERE topic = 'work' AND (topic_partition, topic_offset) = (b.topic_partition, b.topic_offset)
      AND state <> 'replayed' AND b.done_at IS NULL) l ON true
WHERE b.set_version_id = ANY($1) GROUP BY b.set_version_id, b.rule ORDER BY b.set_version_id, min(b.planned_at), b.rule

-- name: first_missing_chunks
-- Of deliveries in progress: the lowest index that the ledger lacks, read or not.
SELECT d.delivery_id,
       CASE WHEN NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id AND c.chunk_index = 0) THEN 0 ELSE (
           SELECT min(c.chunk_index) + 1 FROM chunk c
           WHERE c.delivery_id = d.delivery_id AND NOT EXISTS (
               SELECT FROM chunk n WHERE n.delivery_id = c.delivery_id AND n.chunk_index = c.chunk_index + 1))
       END AS first_missing
FROM delivery d WHERE d.delivery_id = ANY($1)

-- name: workers
-- A worker names itself to the database; what it is called is set in services.py.
SELECT count(DISTINCT application_name) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'dataharvest worker-%'

-- name: orphans
-- While slices of a version are being related, only some of its orphans are counted: nothing is said of them yet.
SELECT c.set_version_id, c.kind, c.record_count,
       ARRAY(SELECT o.reference FROM orphan o WHERE o.set_version_id = c.set_version_id AND o.kind = c.kind
             ORDER BY o.reference LIMIT $2) AS sample
FROM orphan_count c JOIN set_version v USING (set_version_id)
WHERE c.set_version_id = ANY($1)
  AND (v.state = 'blocked'
       OR EXISTS (SELECT FROM fact f WHERE f.set_version_id = c.set_version_id AND f.name = 'relation_established'))
ORDER BY c.set_version_id, c.kind

-- name: quarantined
SELECT q.* FROM unnest($1::bigint[]) AS shown(delivery_id), LATERAL (
    SELECT quarantine_id, delivery_id, line, byte_offset, column_name, rule, message FROM quarantine
    WHERE quarantine.delivery_id = shown.delivery_id AND state = 'open' ORDER BY chunk_index, position LIMIT $2) q

-- name: dropped_repairs
-- What was repaired or accepted in files that these deliveries have replaced.
SELECT q.tenant, d.business_date, d.entity, r.superseded_by, q.delivery_id, count(*) AS repair_count,
       (array_agg(format('line %s (%s by %s)', q.line, last.action, last.who) ORDER BY q.line))[1:5] AS sample
FROM repair r JOIN quarantine q USING (quarantine_id) JOIN delivery d USING (delivery_id)
JOIN LATERAL (SELECT action, who FROM repair before WHERE before.quarantine_id = r.quarantine_id AND before.action <> 'drop'
              ORDER BY repair_id DESC LIMIT 1) last ON true
WHERE r.superseded_by = ANY($1)
GROUP BY q.tenant, d.business_date, d.entity, r.superseded_by, q.delivery_id ORDER BY d.entity, q.delivery_id

-- name: duplicate_keys
SELECT delivery_id, natural_key, record_count, lines FROM duplicate_key WHERE delivery_id = ANY($1)
ORDER BY delivery_id, natural_key

-- name: mixed_currency
-- Clients of a version who have accounts in more than one currency; the cheap look first, as most senders use one.
SELECT CASE WHEN (SELECT count(DISTINCT currency) FROM row_accounts WHERE delivery_id = $2) < 2 THEN 0 ELSE (
    SELECT count(*) FROM (
        SELECT FROM link JOIN row_accounts a USING (account_number)
        WHERE link.set_version_id = $1 AND a.delivery_id = $2
        GROUP BY link.client_reference HAVING count(DISTINCT a.currency) > 1) mixed) END

-- name: dead_letters
SELECT stage, rule, count(*) AS message_count, max(failed_at) AS last_at
FROM dead_letter WHERE state = 'open' AND ($1::timestamptz IS NULL OR failed_at >= $1) GROUP BY stage, rule ORDER BY stage, rule

-- name: uploads
SELECT u.object_key, u.object_identity, d.delivery_id, NULL::bigint AS manifest_id,
       CASE WHEN d.state IN ('sealed', 'judging') AND d.failure->>'rule' = 'conservation' THEN 'broken' ELSE d.state END AS state,
       coalesce(live.chunks, d.chunk_count, 0) AS stored_chunk_count, coalesce(d.record_count, live.records, 0) AS record_count,
       coalesce(d.chunk_count, ceil(d.size_bytes::numeric / nullif(d.chunk_bytes, 0)), 0)::bigint AS expected_chunk_count
FROM unnest($2::text[], $3::text[]) AS u(object_key, object_identity)
-- A content that came back within one second has a number behind its identity: the last one counts.
JOIN LATERAL (SELECT * FROM delivery known WHERE known.bucket = $1 AND known.object_key = u.object_key
              AND (known.object_identity = u.object_identity OR starts_with(known.object_identity, u.object_identity || '#'))
              ORDER BY known.delivery_id DESC LIMIT 1) d ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS chunks, sum(record_count)::bigint AS records FROM chunk WHERE chunk.delivery_id = d.delivery_id
    HAVING d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging')) live ON true
UNION ALL
SELECT u.object_key, u.object_identity, NULL, m.manifest_id,
       CASE WHEN m.decided_at IS NULL THEN 'kept' WHEN m.state = 'read' THEN 'compared' ELSE m.state END, 0, 0, 0
FROM unnest($2::text[], $3::text[]) AS u(object_key, object_identity)
JOIN manifest m ON m.bucket = $1 AND m.object_key = u.object_key AND m.object_identity = u.object_identity

-- name: clock
SELECT clock_timestamp()

-- name: pulse
SELECT pg_current_wal_insert_lsn()::text

-- name: board_dates
SELECT DISTINCT business_date FROM business_set WHERE $1::date IS NULL OR business_date <= $1 ORDER BY business_date DESC LIMIT $2

-- name: board_sets
-- $1 and $2: oldest and newest date. A row for each tenant, its sets side by side; one with several versions is there several times.
-- is_out: the version is published, and neither an edition nor a problem has come since.
SELECT s.tenant, array_agg(s.business_date - $1::date) AS days, array_agg(coalesce(v.version, 0)) AS versions,
       array_agg(coalesce(v.set_version_id, 0)) AS version_ids, array_agg(s.late_at IS NOT NULL) AS late,
       array_agg(coalesce(s.problem IS NULL AND v.state = 'published' AND v.edition = s.edition, false)) AS is_out
FROM business_set s LEFT JOIN set_version v USING (tenant, business_date)
WHERE s.business_date BETWEEN $1 AND $2 AND ($3 = '' OR strpos(lower(s.tenant), lower($3)) > 0)
GROUP BY s.tenant ORDER BY s.tenant

-- name: board_counting
-- Deliveries of these dates that count or may: complete and clean ones, and those on their way or with records in quarantine. $3: part
-- of the tenant's name. Whether a clean one is in a version is known without asking: that is far less work than joining the two.
SELECT coalesce(array_agg(delivery_id) FILTER (WHERE is_clean), '{}') AS clean,
       coalesce(array_agg(delivery_id) FILTER (WHERE NOT is_clean), '{}') AS others
FROM (SELECT delivery_id, state = 'complete' AND coalesce(quarantined_count, 0) = 0 AS is_clean FROM delivery
      WHERE business_date BETWEEN $1 AND $2 AND ($3 = '' OR strpos(lower(tenant), lower($3)) > 0)
        AND state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')) counting

-- name: sets_of_deliveries
SELECT DISTINCT tenant, business_date FROM delivery WHERE delivery_id = ANY($1)

-- name: board_deliveries
-- $1 and $2 as $3 and $4 above. What says in which state a set is, and whether its files are held up; nothing else.
SELECT d.delivery_id, d.tenant, d.business_date, d.entity, d.object_key, d.state, d.last_modified, d.contract_version,
       CASE WHEN d.quarantined_count > 0 THEN
           (SELECT coalesce(sum(q.record_count), 0) FROM quarantine q WHERE q.delivery_id = d.delivery_id AND q.state = 'open')
       ELSE 0 END AS open_quarantine,
       d.failure->>'rule' IS NOT DISTINCT FROM 'conservation' AS is_broken, p.reason AS pause_reason
FROM unnest($1::text[], $2::date[]) AS one(tenant, business_date) JOIN delivery d USING (tenant, business_date)
LEFT JOIN tenant_pause p USING (tenant)
ORDER BY d.tenant, d.business_date, d.entity, d.delivery_id

-- name: entities_of_versions
-- What a version is made of never changes.
SELECT set_version_id, array_agg(entity ORDER BY entity) AS entities, array_agg(delivery_id) AS delivery_ids FROM set_version_delivery
WHERE set_version_id = ANY($1) GROUP BY set_version_id

-- name: dead_letter_count
SELECT count(*) FROM dead_letter WHERE state = 'open'

-- name: dead_letter_list
-- $1: deliveries whose messages are listed, in any state; null for all that are open.
SELECT topic, topic_partition, topic_offset, stage, rule, reason, state, delivery_id, chunk_index, failed_at FROM dead_letter
WHERE CASE WHEN $1::bigint[] IS NULL THEN state = 'open' ELSE delivery_id = ANY($1) END
ORDER BY failed_at DESC, topic, topic_partition, topic_offset LIMIT $2

-- name: version_details
SELECT v.set_version_id, v.version, v.state, v.created_at, v.published_at, v.failure,
       (SELECT coalesce(jsonb_object_agg(entity, delivery_id), '{}') FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       (SELECT coalesce(jsonb_object_agg(name, recorded_at), '{}') FROM fact f WHERE f.set_version_id = v.set_version_id) AS facts,
       o.message_count, o.sent_count,
       (SELECT coalesce(jsonb_object_agg(transformer, n), '{}') FROM (
            SELECT transformer, count(*) AS n FROM value WHERE value.set_version_id = v.set_version_id GROUP BY 1) counted) AS values
FROM set_version v, LATERAL (
    SELECT count(*) AS message_count, count(sent_at) AS sent_count FROM outbound
    WHERE outbound.set_version_id = v.set_version_id) o
WHERE v.tenant = $1 AND v.business_date = $2 ORDER BY v.version DESC

-- name: quarantine_of_set
SELECT q.quarantine_id, q.delivery_id, d.entity, d.object_key AS file, q.line, q.byte_offset, q.byte_length, q.column_name AS "column", q.rule,
       q.message, q.state, q.record_count, substring(q.raw FOR $4) AS raw
FROM quarantine q JOIN delivery d USING (delivery_id)
WHERE d.tenant = $1 AND d.business_date = $2
ORDER BY (q.state = 'open') DESC, d.entity, q.delivery_id DESC, q.chunk_index, q.position LIMIT $3

-- name: quarantine_count_of_set
SELECT coalesce(sum(q.record_count), 0)::bigint FROM quarantine q JOIN delivery d USING (delivery_id)
WHERE d.tenant = $1 AND d.business_date = $2

-- name: delivery_moments
SELECT d.delivery_id, d.entity, d.object_key, d.state, d.registered_at, d.sealed_at, d.completed_at,
       min(c.committed_at) AS first_chunk_at, max(c.committed_at) AS last_chunk_at, count(c.chunk_index) AS chunk_count
FROM delivery d LEFT JOIN chunk c USING (delivery_id)
WHERE d.tenant = $1 AND d.business_date = $2 GROUP BY d.delivery_id

-- name: batch_moments
SELECT v.version, b.rule, min(b.planned_at) AS planned_at, max(b.done_at) AS done_at, count(b.done_at) AS done_count,
       max(b.batch_count) AS batch_count
FROM batch b JOIN set_version v USING (set_version_id)
WHERE v.tenant = $1 AND v.business_date = $2 GROUP BY v.version, b.rule

-- name: without_set
-- $3: days since they came, at most.
SELECT delivery_id FROM delivery
WHERE (business_date IS NULL OR entity IS NULL) AND ($2::text IS NULL OR tenant = $2)
  AND ($3::int IS NULL OR registered_at >= clock_timestamp() - make_interval(days => $3))
ORDER BY delivery_id DESC LIMIT $1

-- name: without_set_count
SELECT count(*) FROM delivery WHERE (business_date IS NULL OR entity IS NULL) AND ($1::text IS NULL OR tenant = $1)
