-- name: progress
-- Deliveries with the indexes of their chunks as ranges: consecutive indexes share the difference between index and rank. $3 and $4:
-- rules and the facts they provide; a rule whose fact is recorded is finished.
WITH going_on AS (
    SELECT d.delivery_id, d.entity, d.chunk_count AS chunks,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(r.first_index, r.last_index) ORDER BY r.first_index), '[]')
            FROM (SELECT min(chunk_index) AS first_index, max(chunk_index) AS last_index
                  FROM (SELECT chunk_index, chunk_index - row_number() OVER (ORDER BY chunk_index) AS island
                        FROM chunk WHERE delivery_id = d.delivery_id) numbered
                  GROUP BY island) r) AS stored
    FROM delivery d
    WHERE d.tenant = $1 AND d.business_date = $2 AND d.state IN ('registered', 'waiting', 'splitting', 'sealed')
      -- What does not add up stays as it is.
      AND d.failure->>'rule' IS DISTINCT FROM 'conservation'),
unfinished AS (
    SELECT v.version, b.rule, max(b.batch_count) AS batch_count,
           array_agg(b.batch_index ORDER BY b.batch_index) FILTER (WHERE b.done_at IS NOT NULL) AS done
    FROM batch b JOIN set_version v USING (set_version_id)
    WHERE v.tenant = $1 AND v.business_date = $2 AND v.state = 'open'
      AND NOT EXISTS (SELECT FROM fact f JOIN unnest($3::text[], $4::text[]) AS known (rule, provides) ON f.name = known.provides
                      WHERE f.set_version_id = b.set_version_id AND known.rule = b.rule)
    GROUP BY v.version, b.rule)
SELECT (SELECT coalesce(jsonb_agg(to_jsonb(going_on)), '[]') FROM going_on) AS deliveries,
       (SELECT coalesce(jsonb_agg(to_jsonb(unfinished)), '[]') FROM unfinished) AS rules

-- name: lock_set
SELECT tenant FROM business_set WHERE tenant = $1 AND business_date = $2 FOR UPDATE

-- name: view
-- All that a decision has to know, in one round trip: it is asked for some ten times for each version of a set.
SELECT coalesce(s.edition, 0) AS edition,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - max(sealed_at)), 'infinity')::float8
        FROM delivery WHERE tenant = $1 AND business_date = $2) AS since_seal_s,
       (SELECT coalesce(jsonb_agg(to_jsonb(one)), '[]') FROM (
            SELECT d.delivery_id, d.entity, d.state, d.last_modified, d.object_key,
                   (SELECT coalesce(sum(q.record_count), 0) FROM quarantine q
                    WHERE q.delivery_id = d.delivery_id AND q.state = 'open') AS open_quarantine,
                   d.failure->>'rule' IS NOT DISTINCT FROM 'conservation' AS is_broken
            FROM delivery d
            WHERE d.tenant = $1 AND d.business_date = $2
              AND d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')) one) AS deliveries,
       (SELECT coalesce(jsonb_agg(to_jsonb(one) ORDER BY one.version), '[]') FROM (
            SELECT v.version, v.state, v.edition,
                   (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
                    WHERE d.set_version_id = v.set_version_id) AS deliveries,
                   ARRAY(SELECT name FROM fact f WHERE f.set_version_id = v.set_version_id) AS facts,
                   ARRAY(SELECT rule FROM readiness r WHERE r.set_version_id = v.set_version_id) AS announced
            FROM set_version v WHERE v.tenant = $1 AND v.business_date = $2) one) AS versions,
       EXISTS (SELECT FROM manifest m WHERE m.tenant = $1 AND m.business_date = $2 AND m.state = 'read') AS has_manifest,
       s.problem IS NOT NULL OR EXISTS (SELECT FROM manifest m WHERE m.tenant = $1 AND m.business_date = $2
                                        AND m.decided_at IS NULL) AS is_totals_note_due,
       EXISTS (SELECT FROM readiness r JOIN set_version v USING (set_version_id)
               WHERE v.tenant = $1 AND v.business_date = $2 AND r.sent_at IS NULL) AS has_unsent,
       EXISTS (SELECT FROM delivery d WHERE d.tenant = $1 AND d.business_date = $2
               AND d.state = 'superseded' AND d.removed_at IS NULL AND d.chunk_count IS NOT NULL) AS has_unneeded,
       (SELECT coalesce(max(version), 0) FROM contract WHERE tenant = $1) AS contract_version
FROM (SELECT) nothing LEFT JOIN business_set s ON s.tenant = $1 AND s.business_date = $2

-- name: publishing_version
-- What was not cancelled goes out.
SELECT version FROM set_version WHERE tenant = $1 AND business_date = $2 AND state IN ('open', 'blocked')
ORDER BY version LIMIT 1

-- name: raise_edition
UPDATE business_set SET edition = edition + 1 WHERE tenant = $1 AND business_date = $2 RETURNING edition

-- name: note_recompute
INSERT INTO recompute (tenant, business_date, transformer, logic_version, edition, who, why)
SELECT tenant, business_date, $3, $4, edition, $5, $6 FROM business_set WHERE tenant = $1 AND business_date = $2

-- name: sets_due
-- Sets whose newest complete deliveries and edition are not those of the newest version, and in which nothing is being read that
-- may count: what is older than a complete delivery of its entity can't, and may be stuck for ever.
-- $1: the time in seconds that has to have passed since the last seal.
SELECT DISTINCT d.tenant, d.business_date FROM delivery d
WHERE d.state = 'complete'
  AND NOT EXISTS (SELECT FROM set_version_delivery sd JOIN set_version v USING (set_version_id)
                  WHERE sd.delivery_id = d.delivery_id
                    AND v.version = (SELECT max(version) FROM set_version w
                                     WHERE (w.tenant, w.business_date) = (d.tenant, d.business_date))
                    AND v.edition = (SELECT edition FROM business_set s
                                     WHERE (s.tenant, s.business_date) = (d.tenant, d.business_date)))
  AND NOT EXISTS (SELECT FROM delivery o WHERE (o.tenant, o.business_date) = (d.tenant, d.business_date)
                  AND (o.state IN ('registered', 'splitting', 'sealed', 'judging')
                       AND NOT EXISTS (
                           SELECT FROM delivery n
                           WHERE (n.tenant, n.business_date, n.entity) = (o.tenant, o.business_date, o.entity)
                             AND n.state = 'complete'
                             AND (n.last_modified, n.object_key, n.delivery_id) > (o.last_modified, o.object_key, o.delivery_id))
                       OR o.sealed_at > clock_timestamp() - make_interval(secs => $1)))

-- name: lock_versions
-- A statement of its own: the next one sees what a batch that was being published has committed meanwhile.
SELECT set_version_id FROM set_version
WHERE tenant = $1 AND business_date = $2 AND state IN ('open', 'blocked') FOR UPDATE

-- name: cancel_unpublished
-- Returns what they were to be compared with.
UPDATE set_version v SET state = 'cancelled'
WHERE v.tenant = $1 AND v.business_date = $2 AND v.state IN ('open', 'blocked')
  AND NOT EXISTS (SELECT FROM outbound_message o WHERE o.set_version_id = v.set_version_id)
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = v.set_version_id
                  AND b.rule LIKE 'outbound.%' AND b.computed_at IS NOT NULL)
RETURNING base_version_id

-- name: set_totals_problem
-- The manifests known by now are decided about.
WITH decided AS (
    UPDATE manifest SET decided_at = clock_timestamp() WHERE (tenant, business_date) = ($1, $2) AND decided_at IS NULL)
UPDATE business_set SET problem = $3
WHERE (tenant, business_date) = ($1, $2) AND problem IS DISTINCT FROM $3
  AND (problem IS NULL OR problem->>'rule' IN ('control_totals', 'manifest_required', 'stored_manifest'))

-- name: create_version
-- Its base is the version before it, cancelled ones aside, if that is published and of the same edition, so that no record of a file
-- that both have was changed in between, and if all its rows are still there and stay: those of files that were complete until now,
-- and of $4, the bases of versions that were cancelled for this one.
-- $5 and $6: entities and their deliveries; $7: the facts that hold from the beginning. Returns for how many seconds all files are there.
WITH made AS (
    INSERT INTO set_version (tenant, business_date, version, edition, base_version_id)
    SELECT s.tenant, s.business_date, $3, s.edition,
           (SELECT b.set_version_id
            FROM (SELECT * FROM set_version w WHERE (w.tenant, w.business_date) = ($1, $2) AND w.state <> 'cancelled'
                  ORDER BY w.version DESC LIMIT 1) b
            WHERE b.state = 'published' AND b.edition = s.edition
              AND (b.set_version_id = ANY($4::bigint[])
                   OR NOT EXISTS (SELECT FROM set_version_delivery d JOIN delivery USING (delivery_id)
                                  WHERE d.set_version_id = b.set_version_id AND delivery.state <> 'complete')))
    FROM business_set s WHERE (s.tenant, s.business_date) = ($1, $2)
    RETURNING set_version_id),
deliveries AS (
    INSERT INTO set_version_delivery (set_version_id, entity, delivery_id)
    SELECT set_version_id, chosen.* FROM made, unnest($5::text[], $6::bigint[]) AS chosen),
facts AS (INSERT INTO fact (set_version_id, name) SELECT set_version_id, unnest($7::text[]) FROM made)
SELECT coalesce(extract(epoch FROM clock_timestamp() - max(registered_at)), 0)::float8 FROM delivery
WHERE delivery_id = ANY($6)

-- name: supersede
-- What was repaired or accepted in the files that are superseded is lost with them, and that is noted.
WITH replaced AS (
    SELECT old.delivery_id, old.tenant, old.entity, new.delivery_id AS by
    FROM delivery new
    JOIN delivery old ON (old.tenant, old.business_date, old.entity) = (new.tenant, new.business_date, new.entity)
     AND old.state = 'complete'
     AND (old.last_modified, old.object_key, old.delivery_id) < (new.last_modified, new.object_key, new.delivery_id)
    WHERE new.delivery_id = ANY($1)),
dropped AS (
    INSERT INTO repair (quarantine_id, tenant, action, who, why, persisted_count, duplicate_count, accepted_count, superseded_by)
    SELECT q.quarantine_id, q.tenant, 'drop', 'dataharvest',
           format('delivery %s of %s replaced delivery %s', r.by, r.entity, r.delivery_id), 0, 0, 0, r.by
    FROM replaced r JOIN quarantine q ON q.delivery_id = r.delivery_id AND q.state <> 'open')
UPDATE delivery SET state = 'superseded'
FROM replaced WHERE delivery.delivery_id = replaced.delivery_id AND delivery.state = 'complete'

-- name: supersede_stuck
-- What was read to its end and may never be done, its object or its judgement being lost. A row that is locked is being stored or
-- judged, by somebody who may ask for the set's lock next, so nobody waits for it here; it is superseded once it is done. After
-- what is complete, and by itself: whoever holds one of these waits for no other.
WITH stuck AS (
    SELECT old.delivery_id FROM delivery old, delivery new
    WHERE new.delivery_id = ANY($1) AND old.state IN ('sealed', 'judging')
      -- What does not add up stays as it is.
      AND old.failure->>'rule' IS DISTINCT FROM 'conservation'
      AND (old.tenant, old.business_date, old.entity) = (new.tenant, new.business_date, new.entity)
      AND (old.last_modified, old.object_key, old.delivery_id) < (new.last_modified, new.object_key, new.delivery_id)
    FOR UPDATE OF old SKIP LOCKED)
UPDATE delivery SET state = 'superseded', completed_at = clock_timestamp(), announced_at = NULL
FROM stuck WHERE delivery.delivery_id = stuck.delivery_id

-- name: traceparents
SELECT traceparent FROM delivery WHERE delivery_id = ANY($1) AND traceparent IS NOT NULL ORDER BY delivery_id

-- name: note_trace
UPDATE set_version SET traceparent = $4 WHERE (tenant, business_date, version) = ($1, $2, $3)

-- name: add_readiness
INSERT INTO readiness (set_version_id, rule)
SELECT set_version_id, unnest($4::text[]) FROM set_version WHERE (tenant, business_date, version) = ($1, $2, $3)
ON CONFLICT DO NOTHING

-- name: set_published
-- Returns for how many seconds all files are there.
UPDATE set_version v SET state = 'published', published_at = clock_timestamp()
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND v.state = 'open'
RETURNING (SELECT coalesce(extract(epoch FROM clock_timestamp() - max(d.registered_at)), 0)::float8
           FROM set_version_delivery JOIN delivery d USING (delivery_id) WHERE set_version_id = v.set_version_id)

-- name: confirm_done
-- The fact holds only when every batch is done in the database and the version still counts.
INSERT INTO fact (set_version_id, name)
SELECT v.set_version_id, $5 FROM set_version v
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND v.state = 'open'
  AND (SELECT count(*) = max(batch_count) FROM batch b
       WHERE b.set_version_id = v.set_version_id AND b.rule = $4 AND b.done_at IS NOT NULL)
ON CONFLICT DO NOTHING

-- name: unsent_readiness
SELECT v.version, r.rule FROM readiness r JOIN set_version v USING (set_version_id)
WHERE v.tenant = $1 AND v.business_date = $2 AND r.sent_at IS NULL
ORDER BY v.version, r.rule

-- name: readiness_sent
UPDATE readiness r SET sent_at = clock_timestamp()
FROM unnest($3::integer[], $4::text[]) AS sent (version, rule) JOIN set_version v USING (version)
WHERE v.tenant = $1 AND v.business_date = $2 AND r.set_version_id = v.set_version_id AND r.rule = sent.rule
