-- What a dead letter was about: a chunk knows its delivery, index and hash, a judgement its delivery. It is not sent again by itself.
ALTER TABLE dead_letter ADD COLUMN delivery_id bigint;
ALTER TABLE dead_letter ADD COLUMN chunk_index integer;
ALTER TABLE dead_letter ADD COLUMN chunk_sha256 bytea;
CREATE INDEX dead_letter_of_delivery ON dead_letter (delivery_id, chunk_index) WHERE delivery_id IS NOT NULL;
