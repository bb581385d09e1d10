-- name: try_alone
SELECT pg_try_advisory_lock(hashtext('dataharvest replay'), hashtext($1))

-- name: begin
INSERT INTO replay (topic, request, by_whom) VALUES ($1, $2, $3) RETURNING replay_id

-- name: add_parts
INSERT INTO replay_part (replay_id, part, start_index, stop_index, next_index)
SELECT $1, part, start_index, stop_index, start_index
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS p(part, start_index, stop_index)

-- name: find
-- $1: only this one; null stands for the newest hundred.
SELECT * FROM replay WHERE $1::bigint IS NULL OR replay_id = $1 ORDER BY replay_id DESC LIMIT 100

-- name: parts
SELECT replay_id, part, start_index, stop_index, next_index FROM replay_part WHERE replay_id = ANY($1) ORDER BY replay_id, part

-- name: save
UPDATE replay SET sent_count = $2, sent_bytes = $3 WHERE replay_id = $1

-- name: save_parts
UPDATE replay_part SET next_index = moved.next_index
FROM unnest($2::bigint[], $3::bigint[]) AS moved(part, next_index)
WHERE replay_part.replay_id = $1 AND replay_part.part = moved.part

-- name: end
UPDATE replay SET ended_at = coalesce(ended_at, clock_timestamp()) WHERE replay_id = $1

-- name: arrival
-- $1 tenant, $2 date; null stands for any.
SELECT min(registered_at) AS registered_at, least(min(last_modified), min(registered_at)) AS modified_at FROM delivery
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date IS NULL OR business_date = $2)

-- name: object_keys
SELECT object_key FROM delivery WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date IS NULL OR business_date = $2)
UNION
SELECT object_key FROM manifest WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date IS NULL OR business_date = $2)

-- name: spans
-- Where the chunks of these deliveries are on their topic: those in the ledger, and the last that were sent.
WITH mine AS (
    SELECT delivery_id, sent_offsets FROM delivery
    WHERE ($1::text IS NULL OR tenant = $1) AND ($2::date IS NULL OR business_date = $2))
SELECT partition, min(first) AS start_offset, max(last) + 1 AS stop_offset FROM (
    SELECT topic_partition AS partition, topic_offset AS first, topic_offset AS last FROM chunk JOIN mine USING (delivery_id)
    UNION ALL
    SELECT sent.key::integer, NULL, sent.value::bigint FROM mine, jsonb_each_text(mine.sent_offsets) AS sent) places
GROUP BY partition ORDER BY partition

-- name: chunks_in
-- Chunks that the ledger knows, of deliveries that still count. $1 tenant, $2 date, $3 and $4 when stored; null stands for any.
-- $5 to $7: ranges of offsets by partition; null stands for everywhere.
SELECT c.delivery_id, array_agg(c.chunk_index ORDER BY c.chunk_index) AS indexes, sum(c.byte_length)::bigint AS byte_count
FROM chunk c JOIN delivery d USING (delivery_id)
WHERE d.state IN ('sealed', 'judging', 'complete')
  AND ($1::text IS NULL OR d.tenant = $1) AND ($2::date IS NULL OR d.business_date = $2)
  AND ($3::timestamptz IS NULL OR c.committed_at >= $3) AND ($4::timestamptz IS NULL OR c.committed_at < $4)
  AND ($5::integer[] IS NULL OR EXISTS (
      SELECT FROM unnest($5, $6::bigint[], $7::bigint[]) AS span(partition, first, stop)
      WHERE span.partition = c.topic_partition AND c.topic_offset >= span.first AND c.topic_offset < span.stop))
GROUP BY c.delivery_id ORDER BY c.delivery_id

-- name: sealed_gaps
-- Chunks that the ledger lacks, of deliveries that wait for them.
SELECT d.delivery_id, array_agg(i ORDER BY i) AS indexes FROM delivery d, generate_series(0, d.chunk_count - 1) AS i
WHERE d.state = 'sealed' AND ($1::text IS NULL OR d.tenant = $1) AND ($2::date IS NULL OR d.business_date = $2)
  AND NOT EXISTS (SELECT FROM chunk c WHERE c.delivery_id = d.delivery_id AND c.chunk_index = i)
GROUP BY d.delivery_id

-- name: delivery
SELECT * FROM delivery WHERE delivery_id = $1

-- name: delivery_sets
SELECT delivery_id, tenant, business_date FROM delivery WHERE delivery_id = ANY($1) AND business_date IS NOT NULL

-- name: key_sets
SELECT delivery_id, tenant, business_date FROM delivery WHERE object_key = ANY($1) AND business_date IS NOT NULL

-- name: chunks_that_act
-- Those that would be stored: not in the ledger, and their delivery still takes chunks.
SELECT asked.delivery_id, asked.chunk_index FROM unnest($1::bigint[], $2::integer[]) AS asked(delivery_id, chunk_index)
JOIN delivery d USING (delivery_id)
WHERE d.state = ANY($3::text[])
  AND NOT EXISTS (SELECT FROM chunk c WHERE (c.delivery_id, c.chunk_index) = (asked.delivery_id, asked.chunk_index))

-- name: batches_that_act
SELECT asked.place FROM unnest($1::text[], $2::date[], $3::integer[], $4::text[], $5::integer[])
     WITH ORDINALITY AS asked(tenant, business_date, version, rule, batch, place)
JOIN set_version v USING (tenant, business_date, version)
JOIN batch b ON b.set_version_id = v.set_version_id AND b.rule = asked.rule AND b.batch_index = asked.batch
WHERE v.state IN ('open', 'published') AND b.done_at IS NULL

-- name: rules_that_act
SELECT asked.place FROM unnest($1::text[], $2::date[], $3::integer[], $4::text[])
     WITH ORDINALITY AS asked(tenant, business_date, version, rule, place)
JOIN set_version v USING (tenant, business_date, version)
WHERE v.state = 'open' AND NOT EXISTS (SELECT FROM batch b WHERE b.set_version_id = v.set_version_id AND b.rule = asked.rule)

-- name: judgements_that_act
SELECT delivery_id FROM delivery WHERE delivery_id = ANY($1) AND state = 'judging'

-- name: sets_that_go_on
-- Sets of which something is still being read, judged, computed or published.
SELECT asked.tenant, asked.business_date FROM unnest($1::text[], $2::date[]) AS asked(tenant, business_date)
WHERE EXISTS (SELECT FROM delivery d WHERE (d.tenant, d.business_date) = (asked.tenant, asked.business_date)
              AND d.state = ANY($3::text[]))
   OR EXISTS (SELECT FROM set_version v WHERE (v.tenant, v.business_date) = (asked.tenant, asked.business_date)
              AND v.state = 'open')
