-- {portfolios}, {transactions} and {accounts} keep a slice to its blocks of each table; they are empty where a batch is the whole.

-- name: room
-- The accounts of a large set fit; spilling them to disk for every slice costs more than the slice itself.
SET LOCAL work_mem = '64MB'

-- name: blocks
SELECT e.entity, coalesce(d.first_block, 0) AS first, coalesce(d.last_block, 0) AS last
FROM unnest($1::text[], $2::bigint[]) AS e (entity, delivery_id) LEFT JOIN delivery d USING (delivery_id)

-- name: links
INSERT INTO link (set_version_id, client_reference, portfolio_reference, account_number)
SELECT $1, p.client_reference, p.portfolio_reference, p.account_number
FROM row_portfolios p
WHERE p.delivery_id = $2{portfolios}
  AND EXISTS (SELECT FROM row_clients c WHERE c.delivery_id = $3 AND c.client_reference = p.client_reference)
  AND EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $4 AND a.account_number = p.account_number)

-- name: orphans
-- $1 portfolios, $2 clients, $3 accounts, $4 transactions: the deliveries of one set version.
WITH orphans AS (
    SELECT 'portfolios without an account' AS kind, p.portfolio_reference::text AS reference
    FROM row_portfolios p WHERE p.delivery_id = $1{portfolios}
      AND NOT EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $3 AND a.account_number = p.account_number)
    UNION ALL
    SELECT 'portfolios without a client', p.portfolio_reference::text
    FROM row_portfolios p WHERE p.delivery_id = $1{portfolios}
      AND NOT EXISTS (SELECT FROM row_clients c WHERE c.delivery_id = $2 AND c.client_reference = p.client_reference)
    UNION ALL
    SELECT 'transactions without an account', t.transaction_reference
    FROM row_transactions t WHERE t.delivery_id = $4{transactions}
      AND NOT EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $3 AND a.account_number = t.account_number)
    UNION ALL
    SELECT 'accounts without a portfolio', a.account_number
    FROM row_accounts a WHERE a.delivery_id = $3{accounts}
      AND NOT EXISTS (SELECT FROM row_portfolios p WHERE p.delivery_id = $1 AND p.account_number = a.account_number)
)
SELECT kind, count(*) AS record_count, (array_agg(reference ORDER BY reference COLLATE "C"))[1:100] AS sample
FROM orphans GROUP BY kind

-- name: note_seen
-- What the slice went through, and in which files the tables lay: they are locked, so nothing rewrites them before the slice is
-- committed. A row keeps its place as long as its table keeps its file.
UPDATE batch SET table_files = {files}, record_count =
    (SELECT count(*) FROM row_portfolios p WHERE p.delivery_id = $4{portfolios})
    + (SELECT count(*) FROM row_transactions t WHERE t.delivery_id = $5{transactions})
    + (SELECT count(*) FROM row_accounts a WHERE a.delivery_id = $6{accounts})
WHERE (set_version_id, rule, batch_index) = ($1, $2, $3)

-- name: lock
-- From here on slices of one version are at work one after the other: the last one sees what the others have left.
SELECT pg_advisory_xact_lock(hashtext('dataharvest relating'), hashint8($1))

-- name: add_orphan_count
INSERT INTO orphan_count (set_version_id, kind, record_count) VALUES ($1, $2, $3)
ON CONFLICT (set_version_id, kind) DO UPDATE SET record_count = orphan_count.record_count + excluded.record_count

-- name: add_orphans
INSERT INTO orphan (set_version_id, kind, reference) SELECT $1, $2, unnest($3::text[])

-- name: slices
-- Whether this is the last slice, and whether together they saw every row of the version, each in its place.
SELECT NOT bool_or(b.computed_at IS NULL AND b.batch_index <> $3) AS is_last,
       sum(b.record_count) = (SELECT coalesce(sum(d.persisted_count), 0) FROM set_version_delivery v JOIN delivery d USING (delivery_id)
                              WHERE v.set_version_id = $1 AND v.entity IN ('portfolios', 'transactions', 'accounts'))
           AND bool_and(b.table_files = {files}) AS saw_all
FROM batch b WHERE b.set_version_id = $1 AND b.rule = $2

-- name: orphan_counts
SELECT kind, record_count FROM orphan_count WHERE set_version_id = $1

-- name: forget_links
DELETE FROM link WHERE set_version_id = $1

-- name: forget_orphans
DELETE FROM orphan WHERE set_version_id = $1

-- name: forget_orphan_counts
DELETE FROM orphan_count WHERE set_version_id = $1
