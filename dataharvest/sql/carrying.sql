-- name: pair
-- A version that has a base, and a rule of it that is to be planned; no row where there is nothing to plan or to compare with.
SELECT v.set_version_id, v.base_version_id,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.set_version_id) AS deliveries,
       (SELECT jsonb_object_agg(entity, delivery_id) FROM set_version_delivery d
        WHERE d.set_version_id = v.base_version_id) AS base_deliveries,
       (SELECT jsonb_object_agg(delivery_id, persisted_count) FROM set_version_delivery d JOIN delivery USING (delivery_id)
        WHERE d.set_version_id IN (v.set_version_id, v.base_version_id)) AS record_counts,
       ARRAY(SELECT b.rule || '.' || c FROM batch b, unnest(b.carried) AS c
             WHERE b.set_version_id = v.set_version_id AND b.batch_index = 0) AS carried
FROM set_version v
WHERE (v.tenant, v.business_date, v.version) = ($1, $2, $3) AND v.state = 'open' AND v.base_version_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = v.set_version_id AND b.rule = $4)

-- name: made_by
-- Null unless all batches of the rule were computed by one declaration.
SELECT min(made_by) FROM batch WHERE set_version_id = $1 AND rule = $2
HAVING count(*) = count(made_by) AND min(made_by) = max(made_by)

-- name: has_same
-- Of as many rows: none of the one that the other lacks.
SELECT NOT EXISTS (SELECT {columns} FROM {table} WHERE delivery_id = $1 EXCEPT ALL SELECT {columns} FROM {table} WHERE delivery_id = $2)

-- name: changed_rows
-- {reference} of rows of one delivery that the other has not, or not as often; {link} leads from a row to its client or portfolio.
SELECT {reference} AS reference FROM (
    SELECT {columns} FROM (
        SELECT {columns}, 1 AS "of one" FROM {table} WHERE delivery_id = {new}::bigint
        UNION ALL
        SELECT {columns}, -1 FROM {table} WHERE delivery_id = {old}::bigint) beside
    GROUP BY {columns} HAVING sum("of one") <> 0) r
{link}

-- name: link_of_row
JOIN link l ON l.set_version_id = {version} AND {same}

-- name: changed_values
SELECT coalesce(new.reference, old.reference) AS reference
FROM (SELECT reference, fields FROM value WHERE set_version_id = {version} AND transformer = '{transformer}') new
FULL JOIN (SELECT reference, fields FROM value WHERE set_version_id = {base} AND transformer = '{transformer}') old USING (reference)
WHERE new.fields IS DISTINCT FROM old.fields

-- name: at_most
SELECT DISTINCT reference FROM ({changes}) change WHERE reference IS NOT NULL LIMIT $1
