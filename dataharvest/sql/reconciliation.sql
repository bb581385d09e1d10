-- name: known_set
SELECT EXISTS (SELECT FROM business_set WHERE tenant = $1 AND business_date = $2)

-- name: version
SELECT v.set_version_id, v.version, v.state, v.edition <> s.edition AS is_other_edition,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       (SELECT jsonb_object_agg(d.entity, persisted_count) FROM set_version_delivery d JOIN delivery USING (delivery_id)
        WHERE d.set_version_id = v.set_version_id) AS record_counts,
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
-- $2 portfolios, $3 clients, $4 accounts: deliveries of the set version $1. $5: portfolios to be named, at most.
WITH expected AS MATERIALIZED (
    SELECT p.portfolio_reference, p.client_reference, p.account_number FROM row_portfolios p
    WHERE p.delivery_id = $2
      AND p.account_number IN (SELECT a.account_number FROM row_accounts a WHERE a.delivery_id = $4)
      AND p.client_reference IN (SELECT c.client_reference FROM row_clients c WHERE c.delivery_id = $3)),
stored AS MATERIALIZED (
    SELECT portfolio_reference, client_reference, account_number FROM link WHERE set_version_id = $1),
missing AS MATERIALIZED (TABLE expected EXCEPT ALL TABLE stored)
SELECT (SELECT count(*) FROM expected) AS expected_count, (SELECT count(*) FROM stored) AS link_count,
       (SELECT count(*) FROM missing) AS missing_count,
       ARRAY(SELECT portfolio_reference::text FROM missing ORDER BY 1 LIMIT $5) AS missing_sample

-- name: expected_orphans
-- $1 portfolios, $2 clients, $3 accounts, $4 transactions: deliveries of one set version.
SELECT 'portfolios without an account' AS kind, count(*) AS record_count FROM row_portfolios p
WHERE p.delivery_id = $1
  AND NOT EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $3 AND a.account_number = p.account_number)
UNION ALL
SELECT 'portfolios without a client', count(*) FROM row_portfolios p
WHERE p.delivery_id = $1
  AND NOT EXISTS (SELECT FROM row_clients c WHERE c.delivery_id = $2 AND c.client_reference = p.client_reference)
UNION ALL
SELECT 'transactions without an account', count(*) FROM row_transactions t
WHERE t.delivery_id = $4
  AND NOT EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $3 AND a.account_number = t.account_number)
UNION ALL
SELECT 'accounts without a portfolio', count(*) FROM row_accounts a
WHERE a.delivery_id = $3
  AND NOT EXISTS (SELECT FROM row_portfolios p WHERE p.delivery_id = $1 AND p.account_number = a.account_number)

-- name: orphan_counts
SELECT kind, record_count FROM orphan_count WHERE set_version_id = $1

-- name: made_by
-- The declarations by which the rule's batches were made, as far as they are known, and the versions of a transformer's logic.
SELECT ARRAY(SELECT DISTINCT made_by FROM batch WHERE set_version_id = $1 AND rule = $2 AND made_by IS NOT NULL) AS declarations,
       ARRAY(SELECT DISTINCT logic_version FROM value WHERE set_version_id = $1 AND transformer = $2) AS logic_versions

-- name: value_count
SELECT count(*) FROM value WHERE set_version_id = $1 AND transformer = $2

-- name: value_sums
-- What another declaration has made may be no number.
SELECT wanted.name, coalesce(sum((v.fields->>wanted.name)::numeric), 0)::text AS total
FROM unnest($3::text[]) AS wanted (name)
LEFT JOIN value v ON v.set_version_id = $1 AND v.transformer = $2 AND pg_input_is_valid(v.fields->>wanted.name, 'numeric')
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
           ORDER BY reference, version DESC) newest
     ON NOT newest.withdrawn AND pg_input_is_valid(newest.payload->>wanted.name, 'numeric')
GROUP BY wanted.name

-- name: newest_messages
-- $5 and $6: the slice, and of how many.
SELECT DISTINCT ON (reference) reference::text, message_id::text, payload, withdrawn FROM outbound_message
WHERE set_version_id = ANY(ARRAY(SELECT v.set_version_id FROM set_version v
                           WHERE v.tenant = $1 AND v.business_date = $2 AND v.version <= $4)) AND kind = $3
  AND ($6 = 1 OR abs(hashtext(reference::text)::bigint) % $6 = $5)
ORDER BY reference, version DESC
