-- name: computed_sets
-- The newest version of each set, and which versions of the transformer's logic its values come from. $2 and $3: tenant and date;
-- null stands for any.
SELECT v.tenant, v.business_date, v.version, v.state, s.edition > v.edition AS is_due,
       ARRAY(SELECT DISTINCT logic_version FROM value x WHERE x.set_version_id = v.set_version_id AND x.transformer = $1
             ORDER BY logic_version) AS logic_versions,
       (SELECT count(*) FROM batch b WHERE b.set_version_id = v.set_version_id AND b.rule = $1) AS batch_count
FROM (SELECT DISTINCT ON (tenant, business_date) * FROM set_version
      WHERE ($2::text IS NULL OR tenant = $2) AND ($3::date IS NULL OR business_date = $3)
      ORDER BY tenant, business_date, version DESC) v
JOIN business_set s USING (tenant, business_date)
ORDER BY v.tenant, v.business_date

-- name: history
-- $1 transformer, $2 tenant, $3 date; null stands for any. Of several hundred the newest.
SELECT * FROM (
    SELECT r.*, (SELECT min(v.version) FROM set_version v
                 WHERE (v.tenant, v.business_date) = (r.tenant, r.business_date) AND v.edition >= r.edition) AS version
    FROM recompute r
    WHERE ($1::text IS NULL OR r.transformer = $1) AND ($2::text IS NULL OR r.tenant = $2)
      AND ($3::date IS NULL OR r.business_date = $3)
    ORDER BY r.recompute_id DESC LIMIT $4) newest
ORDER BY recompute_id
