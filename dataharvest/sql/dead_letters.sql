-- name: note_letter
-- Where the newest copy of the letter lies on the topic `dead-letters`.
UPDATE dead_letter SET letter_partition = $4, letter_offset = $5
WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3)

-- name: find
-- $1 to $4: topic, stage, rule and state; null stands for any. $5: only these positions, as topic:partition:offset.
SELECT * FROM dead_letter
WHERE ($1::text IS NULL OR topic = $1) AND ($2::text IS NULL OR stage = $2) AND ($3::text IS NULL OR rule = $3)
  AND ($4::text IS NULL OR state = $4)
  AND ($5::text[] IS NULL OR topic || ':' || topic_partition || ':' || topic_offset = ANY($5))
ORDER BY failed_at, topic, topic_partition, topic_offset

-- name: lock
SELECT * FROM dead_letter WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3) FOR UPDATE

-- name: set_state
UPDATE dead_letter SET state = $4 WHERE (topic, topic_partition, topic_offset) = ($1, $2, $3)

-- name: add_action
INSERT INTO dead_letter_action (topic, topic_partition, topic_offset, action, by_whom, reason, sent_partition, sent_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: move_batch
-- The batch's message is another now; should that one be dead-lettered too, the batch waits for it.
UPDATE batch SET topic_partition = $3, topic_offset = $4 WHERE $5 = 'work' AND topic_partition = $1 AND topic_offset = $2

-- name: history
-- $1: only of this one, as topic:partition:offset; null stands for all.
SELECT * FROM dead_letter_action
WHERE $1::text IS NULL OR topic || ':' || topic_partition || ':' || topic_offset = $1
ORDER BY acted_at, dead_letter_action_id
