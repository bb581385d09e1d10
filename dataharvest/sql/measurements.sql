-- name: set_states
-- By state, as rules/standing.py tells them; a test holds the two together. $1: first business date; $2: entities that are
-- required where no contract says otherwise.
WITH newest_contract AS (SELECT DISTINCT ON (tenant) tenant, content FROM contract ORDER BY tenant, version DESC),
found AS (
    SELECT s.problem, v.set_version_id, v.state AS version_state, v.deliveries, v.edition <> s.edition AS is_other_edition,
           coalesce(ARRAY(SELECT jsonb_array_elements_text(c.content->'required')), '{}') AS contract_required,
           coalesce((c.content->>'quarantine_threshold')::bigint, 0) AS threshold, now_there.*
    FROM business_set s
    LEFT JOIN newest_contract c USING (tenant)
    LEFT JOIN LATERAL (
        SELECT w.set_version_id, w.state, w.edition,
               (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery x
                WHERE x.set_version_id = w.set_version_id) AS deliveries
        FROM set_version w WHERE (w.tenant, w.business_date) = (s.tenant, s.business_date)
        ORDER BY w.version DESC LIMIT 1) v ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(entity, delivery_id) FILTER (WHERE is_newest), '{}') AS chosen,
               coalesce(array_agg(entity) FILTER (WHERE is_newest), '{}') AS complete_entities,
               coalesce(bool_or(is_moving AND is_last), false) AS any_moving,
               coalesce(bool_or(is_moving AND is_broken AND is_last), false) AS any_broken,
               coalesce(max(open_quarantine) FILTER (WHERE is_newest), 0) AS most_quarantined
        FROM (
            SELECT d.entity, d.delivery_id, d.state <> 'complete' AS is_moving,
                   d.failure->>'rule' IS NOT DISTINCT FROM 'conservation' AS is_broken,
                   d.state = 'complete' AND row_number() OVER newest_complete = 1 AS is_newest,
                   -- No complete one is newer.
                   count(*) FILTER (WHERE d.state = 'complete') OVER newer = 0 AS is_last,
                   CASE WHEN d.quarantined_count > 0 THEN
                       (SELECT coalesce(sum(q.record_count), 0) FROM quarantine q
                        WHERE q.delivery_id = d.delivery_id AND q.state = 'open')
                   ELSE 0 END AS open_quarantine
            FROM delivery d
            WHERE (d.tenant, d.business_date) = (s.tenant, s.business_date)
              AND d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')
            WINDOW newest_complete AS (PARTITION BY d.entity, d.state = 'complete'
                                       ORDER BY d.last_modified DESC, d.object_key DESC, d.delivery_id DESC),
                   newer AS (PARTITION BY d.entity ORDER BY d.last_modified DESC, d.object_key DESC, d.delivery_id DESC
                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) one) now_there
    WHERE s.business_date >= $1),
told AS (
    SELECT found.*,
           CASE WHEN cardinality(contract_required) > 0 THEN contract_required ELSE $2::text[] END AS required,
           set_version_id IS NULL OR version_state = 'cancelled' OR chosen <> deliveries
               OR is_other_edition AS needs_version,
           version_state = 'open' AND EXISTS (SELECT FROM readiness r WHERE r.set_version_id = found.set_version_id
                                              AND r.rule LIKE 'outbound.%') AS is_publishing
    FROM found)
SELECT CASE
           WHEN any_broken THEN 'blocked'
           WHEN any_moving THEN 'loading'
           WHEN most_quarantined > threshold THEN 'blocked'
           WHEN NOT required <@ complete_entities THEN 'incomplete'
           WHEN problem->'deliveries' = chosen AND NOT coalesce(is_publishing, false)
               THEN CASE problem->>'state' WHEN 'waits' THEN 'incomplete' WHEN 'disputed' THEN 'disputed' ELSE 'blocked' END
           WHEN needs_version THEN 'ready'
           WHEN version_state IN ('published', 'blocked') THEN version_state
           WHEN is_publishing THEN 'publishing'
           WHEN EXISTS (SELECT FROM fact f WHERE f.set_version_id = told.set_version_id AND f.name NOT LIKE '%\_persisted')
               THEN 'transforming'
           ELSE 'ready' END AS state,
       count(*) AS set_count
FROM told GROUP BY 1

-- name: lateness
SELECT count(*) AS late_sets, coalesce(extract(epoch FROM clock_timestamp() - min(late_at)), 0)::float8 AS lateness_s
FROM business_set s
WHERE s.business_date >= $1 AND s.late_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM set_version v WHERE (v.tenant, v.business_date) = (s.tenant, s.business_date))

-- name: clock
SELECT clock_timestamp()

-- name: totals
SELECT (SELECT coalesce(sum(q.record_count), 0) FROM quarantine q JOIN delivery d USING (delivery_id)
        WHERE q.state = 'open' AND d.state = 'complete')::bigint AS quarantine_open,
       (SELECT count(*) FROM dead_letter) AS dead_letters,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(registered_at)), 0)::float8 FROM delivery
        WHERE state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging')) AS unfinished_s
