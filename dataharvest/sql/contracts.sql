-- name: lock_tenant
-- Two operators may apply at once; the second sees what the first has stored.
SELECT pg_advisory_xact_lock(hashtext('dataharvest contract'), hashtext($1))

-- name: current
SELECT version, content FROM contract WHERE tenant = $1 ORDER BY version DESC LIMIT 1

-- name: newest
SELECT DISTINCT ON (tenant) tenant, content FROM contract WHERE tenant = ANY($1) ORDER BY tenant, version DESC

-- name: version
SELECT content FROM contract WHERE tenant = $1 AND version = $2

-- name: insert
INSERT INTO contract (tenant, version, content) VALUES ($1, $2, $3)

-- name: unblock
-- $2: kinds of orphan that block, $3: whether a client with accounts in two currencies does. Versions that an earlier contract
-- blocked and this one does not go on. They were related when they were blocked, so that is done; the sweep tells their sets.
WITH goes_on AS (
    UPDATE set_version v SET state = 'open', failure = NULL
    WHERE v.tenant = $1 AND v.state = 'blocked' AND v.failure->>'rule' IN ('orphans', 'mixed_currency')
      AND NOT EXISTS (SELECT FROM orphan_count o WHERE o.set_version_id = v.set_version_id AND o.kind = ANY($2))
      AND NOT ($3 AND EXISTS (
          SELECT FROM set_version_delivery d JOIN row_accounts a ON a.delivery_id = d.delivery_id
          JOIN link USING (account_number)
          WHERE d.set_version_id = v.set_version_id AND d.entity = 'accounts' AND link.set_version_id = v.set_version_id
          GROUP BY link.client_reference HAVING count(DISTINCT a.currency) > 1))
    RETURNING v.set_version_id, v.business_date),
related AS (
    UPDATE batch b SET done_at = computed_at FROM goes_on
    WHERE b.set_version_id = goes_on.set_version_id AND b.computed_at IS NOT NULL AND b.done_at IS NULL)
SELECT business_date FROM goes_on ORDER BY business_date
