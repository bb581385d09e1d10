-- name: known_set
SELECT EXISTS (SELECT FROM business_set WHERE tenant = $1 AND business_date = $2)

-- name: version
SELECT v.set_version_id, v.version, v.state, v.edition <> s.edition AS has_changed_rows,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       ARRAY(SELECT name FROM fact f WHERE f.set_version_id = v.set_version_id) AS facts
FROM set_version v JOIN business_set s USING (tenant, business_date)
WHERE v.tenant = $1 AND v.business_date = $2 AND v.state <> 'cancelled'
ORDER BY v.version DESC LIMIT 1

-- name: deliveries
-- $3: deliveries of the version, whatever became of them since. Rows that were removed cannot be counted again.
SELECT d.delivery_id, d.entity, d.state, d.last_modified, d.object_key, d.object_sha256, d.content_sha256, d.sums,
       ARRAY[d.record_count, d.persisted_count, d.quarantined_count, d.duplicate_count, d.accepted_count] AS recorded,
       (SELECT ARRAY[coalesce(sum(record_count), 0), coalesce(sum(persisted_count), 0), coalesce(sum(quarantined_count), 0),
                     coalesce(sum(duplicate_count), 0), coalesce(sum(accepted_count), 0)]::bigint[]
        FROM chunk WHERE chunk.delivery_id = d.delivery_id) AS ledger,
       (SELECT coalesce(sum(record_count), 0)::bigint FROM quarantine q
        WHERE q.delivery_id = d.delivery_id AND q.state = 'open') AS quarantine_count,
       (SELECT coalesce(sum(record_count), 0)::bigint FROM quarantine q
        WHERE q.delivery_id = d.delivery_id AND q.state = 'accepted') AS accepted_count
FROM delivery d
WHERE d.tenant = $1 AND d.business_date = $2 AND d.removed_at IS NULL
  AND (d.state = 'complete' OR d.delivery_id = ANY($3) AND d.state = 'superseded')
ORDER BY d.entity, d.delivery_id

-- name: references
-- Clients, or linked portfolios, of the version: each has one value of every transformer, and a message.
SELECT (SELECT count(*) FROM row_clients WHERE delivery_id = $2) AS client,
       (SELECT count(*) FROM link WHERE set_version_id = $1) AS portfolio

-- name: links
-- $2 portfolios, $3 clients, $4 accounts: deliveries of the set version $1.
WITH expected AS MATERIALIZED (
    SELECT p.portfolio_reference, p.client_reference, p.account_number FROM row_portfolios p
    WHERE p.delivery_id = $2
      AND p.account_number IN (SELECT a.account_number FROM row_accounts a WHERE a.delivery_id = $4)
      AND p.client_reference IN (SELECT c.client_reference FROM row_clients c WHERE c.delivery_id = $3)),
stored AS MATERIALIZED (
    SELECT portfolio_reference, client_reference, account_number FROM link WHERE set_version_id = $1)
SELECT (SELECT count(*) FROM expected) AS expected_count, (SELECT count(*) FROM stored) AS link_count,
       (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE stored) missing) AS missing_count

-- name: computed_as
-- How many batches the rule has, and which versions of the transformer's logic its values come from.
SELECT (SELECT max(batch_count) FROM batch WHERE set_version_id = $1 AND rule = $2) AS batch_count,
       ARRAY(SELECT DISTINCT logic_version FROM value WHERE set_version_id = $1 AND transformer = $2) AS logic_versions

-- name: value_count
SELECT count(*) FROM value WHERE set_version_id = $1 AND transformer = $2

-- name: value_sums
SELECT wanted.name, coalesce(sum((v.fields->>wanted.name)::numeric), 0)::text AS total
FROM unnest($3::text[]) AS wanted (name)
LEFT JOIN value v ON v.set_version_id = $1 AND v.transformer = $2
GROUP BY wanted.name

-- name: message_counts
SELECT count(*) FILTER (WHERE NOT newest.withdrawn) AS message_count, count(*) FILTER (WHERE newest.withdrawn) AS withdrawn_count,
       (SELECT count(*) FROM outbound
        WHERE set_version_id = ANY(ARRAY(SELECT v.set_version_id FROM set_version v
                                   WHERE v.tenant = $1 AND v.business_date = $2 AND v.version <= $4)) AND kind = $3 AND sent_at IS NULL) AS unsent_count
FROM (SELECT DISTINCT ON (reference) withdrawn FROM outbound_message
      WHERE set_version_id = ANY(ARRAY(SELECT v.set_version_id FROM set_version v
                                   WHERE v.tenant = $1 AND v.business_date = $2 AND v.version <= $4)) AND kind = $3
      ORDER BY reference, version DESC) newest

-- name: message_sums
SELECT wanted.name, coalesce(sum((newest.payload->>wanted.name)::numeric), 0)::text AS total
FROM unnest($5::text[]) AS wanted (name)
LEFT JOIN (SELECT DISTINCT ON (reference) payload::jsonb AS payload, withdrawn FROM outbound_message
           WHERE set_version_id = ANY(ARRAY(SELECT v.set_version_id FROM set_version v
                                   WHERE v.tenant = $1 AND v.business_date = $2 AND v.version <= $4)) AND kind = $3
           ORDER BY reference, version DESC) newest ON NOT newest.withdrawn
GROUP BY wanted.name
