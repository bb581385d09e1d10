-- name: due
-- {of_set} keeps it to one set; it is empty where all are meant.
-- Superseded deliveries whose rows nobody needs: every version that has them, or is compared with one that has them, is published or
-- cancelled.
SELECT d.delivery_id FROM delivery d
WHERE d.state = 'superseded' AND d.removed_at IS NULL AND d.chunk_count IS NOT NULL
  {of_set}
  AND NOT EXISTS (SELECT FROM set_version_delivery sd
                  JOIN set_version v ON sd.set_version_id IN (v.set_version_id, v.base_version_id)
                  WHERE sd.delivery_id = d.delivery_id AND v.state IN ('open', 'blocked'))
ORDER BY d.delivery_id LIMIT 100

-- name: lock_removable
SELECT d.entity, set_config('plan_cache_mode', 'auto', true) FROM delivery d
WHERE d.delivery_id = $1 AND d.state = 'superseded' AND d.removed_at IS NULL
  AND NOT EXISTS (SELECT FROM set_version_delivery sd
                  JOIN set_version v ON sd.set_version_id IN (v.set_version_id, v.base_version_id)
                  WHERE sd.delivery_id = d.delivery_id AND v.state IN ('open', 'blocked'))
FOR UPDATE OF d

-- name: removed
UPDATE delivery SET removed_at = clock_timestamp() WHERE delivery_id = $1

-- name: remove_links
-- Of cancelled versions; what a published one was made of is kept, for it can be asked about.
DELETE FROM link WHERE set_version_id IN (
    SELECT v.set_version_id FROM set_version v JOIN set_version_delivery sd USING (set_version_id)
    WHERE sd.delivery_id = $1 AND v.state = 'cancelled')

-- name: remove_values
DELETE FROM value WHERE set_version_id IN (
    SELECT v.set_version_id FROM set_version v JOIN set_version_delivery sd USING (set_version_id)
    WHERE sd.delivery_id = $1 AND v.state = 'cancelled')
