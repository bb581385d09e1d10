-- name: paused
SELECT tenant FROM tenant_pause

-- name: pause
INSERT INTO tenant_pause (tenant, reason) VALUES ($1, $2)
ON CONFLICT (tenant) DO UPDATE SET reason = excluded.reason

-- name: resume
DELETE FROM tenant_pause WHERE tenant = $1 RETURNING tenant

-- name: wake_splitters
SELECT pg_notify('delivery_registered', '')

-- name: list
SELECT tenant, p.paused_at, p.reason, coalesce(s.set_count, 0) AS set_count, coalesce(d.waiting_count, 0) AS waiting_count,
       coalesce(d.reading_count, 0) AS reading_count
FROM (SELECT tenant, count(*) AS set_count FROM business_set GROUP BY tenant) s
FULL JOIN tenant_pause p USING (tenant)
LEFT JOIN (
    SELECT tenant, count(*) FILTER (WHERE lease_until >= clock_timestamp()) AS reading_count,
           count(*) FILTER (WHERE lease_until IS NULL OR lease_until < clock_timestamp()) AS waiting_count
    FROM delivery WHERE state IN ('registered', 'waiting', 'splitting') GROUP BY tenant) d USING (tenant)
ORDER BY tenant

-- name: in_flight
-- Of a delivery that was not read to its end, because its splitter was interrupted or died, every chunk before the last stored one
-- was sent too: chunks are sent in order. What has not come within ten minutes of the sealing or of the chunk stored last is the
-- sweep's business, or is sent again by the next splitter; nobody waits for it here.
SELECT d.delivery_id, i AS chunk_index
FROM delivery d, LATERAL (
    SELECT max(chunk_index) AS last_stored, max(committed_at) AS moved_at FROM chunk c WHERE c.delivery_id = d.delivery_id) known,
    generate_series(0, coalesce(d.chunk_count - 1, known.last_stored)) AS i
WHERE d.tenant = $1 AND d.state IN ('registered', 'splitting', 'sealed')
  AND coalesce(d.sealed_at, known.moved_at) > clock_timestamp() - interval '10 minutes'
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id AND c.chunk_index = i)
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.delivery_id = d.delivery_id AND l.chunk_index = i AND l.state <> 'replayed')

-- name: landed
SELECT sent.delivery_id, sent.chunk_index
FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[])
     AS sent(delivery_id, chunk_index, topic_partition, topic_offset)
WHERE EXISTS (SELECT FROM chunk c WHERE c.delivery_id = sent.delivery_id AND c.chunk_index = sent.chunk_index)
   OR NOT EXISTS (SELECT FROM delivery d WHERE d.delivery_id = sent.delivery_id
                  AND d.state IN ('registered', 'waiting', 'splitting', 'sealed'))
   OR EXISTS (SELECT FROM dead_letter l WHERE l.topic = 'chunks' AND (
              l.topic_partition = sent.topic_partition AND l.topic_offset = sent.topic_offset
              OR l.delivery_id = sent.delivery_id AND l.chunk_index = sent.chunk_index AND sent.topic_offset IS NULL))

-- name: others_under_way
-- Each of the three has an index of those few.
SELECT EXISTS (SELECT FROM delivery WHERE state = 'splitting' AND tenant <> $1 AND lease_until >= clock_timestamp()
               AND registered_at > clock_timestamp() - interval '10 seconds')
    OR EXISTS (SELECT FROM delivery WHERE state = 'sealed' AND tenant <> $1
               AND sealed_at > clock_timestamp() - interval '10 seconds')
    OR EXISTS (SELECT FROM set_version WHERE state = 'open' AND tenant <> $1
               AND created_at > clock_timestamp() - interval '10 seconds')
