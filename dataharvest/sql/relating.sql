-- {portfolios}, {transactions} and {accounts} keep a slice to its blocks of each table; they are empty where a batch is the whole.

-- name: blocks
SELECT e.entity, coalesce(d.first_block, 0) AS first, coalesce(d.last_block, 0) AS last
FROM unnest($1::text[], $2::bigint[]) AS e (entity, delivery_id) LEFT JOIN delivery d USING (delivery_id)

-- name: portfolios
-- $2 portfolios, $3 clients, $4 accounts: deliveries of the set version $1. Links what has both and gives back the others. Accounts
-- and clients are gone through once each, however few portfolios a slice has.
WITH mine AS MATERIALIZED (
    SELECT p.portfolio_reference, p.client_reference, p.account_number FROM row_portfolios p
    WHERE p.delivery_id = $2{portfolios}),
known_account AS MATERIALIZED (
    SELECT DISTINCT a.account_number FROM row_accounts a
    WHERE a.delivery_id = $4 AND a.account_number IN (SELECT account_number FROM mine)),
known_client AS MATERIALIZED (
    SELECT DISTINCT c.client_reference FROM row_clients c
    WHERE c.delivery_id = $3 AND c.client_reference IN (SELECT client_reference FROM mine)),
weighed AS MATERIALIZED (
    SELECT m.*, a.account_number IS NULL AS lacks_account, c.client_reference IS NULL AS lacks_client
    FROM mine m LEFT JOIN known_account a USING (account_number) LEFT JOIN known_client c USING (client_reference)),
linked AS (
    INSERT INTO link (set_version_id, client_reference, portfolio_reference, account_number)
    SELECT $1, client_reference, portfolio_reference, account_number FROM weighed WHERE NOT lacks_account AND NOT lacks_client),
orphans AS (
    SELECT 'portfolios without an account' AS kind, portfolio_reference::text AS reference FROM weighed WHERE lacks_account
    UNION ALL
    SELECT 'portfolios without a client', portfolio_reference::text FROM weighed WHERE lacks_client)
SELECT kind, count(*) AS record_count, (array_agg(reference ORDER BY reference COLLATE "C"))[1:100] AS sample
FROM orphans GROUP BY kind

-- name: others
-- $1 portfolios, $2 accounts, $3 transactions: deliveries of one set version.
WITH orphans AS (
    SELECT 'transactions without an account' AS kind, t.transaction_reference AS reference
    FROM row_transactions t WHERE t.delivery_id = $3{transactions}
      AND NOT EXISTS (SELECT FROM row_accounts a WHERE a.delivery_id = $2 AND a.account_number = t.account_number)
    UNION ALL
    SELECT 'accounts without a portfolio', a.account_number
    FROM row_accounts a WHERE a.delivery_id = $2{accounts}
      AND NOT EXISTS (SELECT FROM row_portfolios p WHERE p.delivery_id = $1 AND p.account_number = a.account_number)
)
SELECT kind, count(*) AS record_count, (array_agg(reference ORDER BY reference COLLATE "C"))[1:100] AS sample
FROM orphans GROUP BY kind

-- name: note_seen
-- $4: the rows that the slice went through; in which files the tables lay: they are locked, so nothing rewrites them before the slice
-- is committed. A row keeps its place as long as its table keeps its file.
UPDATE batch SET record_count = $4, table_files = {files} WHERE (set_version_id, rule, batch_index) = ($1, $2, $3)

-- name: seen_portfolios
SELECT count(*) FROM row_portfolios p WHERE p.delivery_id = $1{portfolios}

-- name: seen_others
SELECT (SELECT count(*) FROM row_accounts a WHERE a.delivery_id = $1{accounts})
       + (SELECT count(*) FROM row_transactions t WHERE t.delivery_id = $2{transactions})

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

-- name: carry_links
INSERT INTO link (set_version_id, client_reference, portfolio_reference, account_number)
SELECT $1, client_reference, portfolio_reference, account_number FROM link WHERE set_version_id = $2

-- name: carried_orphans
SELECT c.kind, c.record_count,
       (SELECT (array_agg(reference ORDER BY reference COLLATE "C"))[1:100] FROM orphan o
        WHERE (o.set_version_id, o.kind) = (c.set_version_id, c.kind)) AS sample
FROM orphan_count c WHERE c.set_version_id = $1 AND c.kind = ANY($2)
