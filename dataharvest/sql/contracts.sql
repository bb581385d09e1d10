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

-- name: in_use
-- The newest of each tenant, and those under which something is still read.
SELECT c.tenant, c.version, c.content FROM contract c
WHERE ($1::text IS NULL OR c.tenant = $1)
  AND (c.version = (SELECT max(version) FROM contract newest WHERE newest.tenant = c.tenant)
       OR EXISTS (SELECT FROM delivery d WHERE d.tenant = c.tenant AND d.contract_version = c.version
                  AND d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging')))

-- name: older
SELECT version, content FROM contract WHERE tenant = $1 AND version < $2

-- name: take_over
-- $2: versions that can't be read, $3: their successor, $4: fields that say how a file is read, $5: the successor's content. What
-- has chunks was read under the old version, by a program that could: the new one must not read the rest differently.
UPDATE delivery d SET contract_version = $3, next_try_at = NULL
FROM contract old
WHERE d.tenant = $1 AND d.contract_version = ANY($2) AND (old.tenant, old.version) = (d.tenant, d.contract_version)
  AND d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')
  AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
  AND (NOT EXISTS (SELECT FROM unnest($4::text[]) AS field (name) WHERE old.content->name IS DISTINCT FROM $5::jsonb->name)
       OR d.state IN ('registered', 'waiting', 'splitting')
          AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id))

-- name: wake_splitters
SELECT pg_notify('delivery_registered', '')

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
    -- As if it had been done long ago: the next sweep need not give any message more time.
    UPDATE batch b SET done_at = least(b.computed_at, clock_timestamp() - interval '60 seconds'),
                       sent_at = least(b.sent_at, clock_timestamp() - interval '60 seconds')
    FROM goes_on
    WHERE b.set_version_id = goes_on.set_version_id AND b.computed_at IS NOT NULL AND b.done_at IS NULL
      -- Of these it would say that their messages were sent.
      AND b.rule NOT LIKE 'outbound.%')
SELECT business_date FROM goes_on ORDER BY business_date
