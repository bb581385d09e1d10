-- Copies of natural keys are removed in steps: half of a removal can't be told from the rows, so what is known of the copies is kept in
-- tables that are logged. Deliveries that are being judged begin anew.

TRUNCATE judgement_slice;
ALTER TABLE judgement_slice
    DROP COLUMN suspects,
    DROP COLUMN decided_count;
ALTER TABLE judgement_slice
    -- Hashes of rows of this slice that occur more than once in whatever slices, stored as the hashes are; each once.
    ADD COLUMN suspects bytea NOT NULL DEFAULT '',
    -- Rows of it that have one of them. Of more than two equal hashes two are stored; the others count here from the beginning.
    ADD COLUMN suspect_count bigint NOT NULL DEFAULT 0,
    -- To before which block copies were looked for.
    ADD COLUMN searched_block bigint;
ALTER TABLE judgement_slice ALTER COLUMN suspects SET STORAGE EXTERNAL;

-- Whether a delivery of which nothing is kept as a rule is being judged in steps: then what was kept is looked up.
ALTER TABLE delivery ADD COLUMN judged_in_steps boolean NOT NULL DEFAULT false;

DROP TABLE judgement_copy;
DROP TABLE judgement_reading;
DROP TABLE judgement_named;

-- Rows whose key may occur more than once, until it is settled what becomes of them.
CREATE TABLE judgement_copy (
    delivery_id bigint NOT NULL,
    -- -1 where nobody knows, after a restore.
    chunk_index integer NOT NULL,
    natural_key text COLLATE "C" NOT NULL,
    -- Of the row. Whoever uses it asks for the row's transaction and key as well, for rows may have moved.
    place tid NOT NULL,
    written_by xid NOT NULL
);
CREATE INDEX judgement_copy_in_chunk ON judgement_copy (delivery_id, chunk_index);

-- Their keys. What the contract's rule makes of a row follows from its key and chunk.
CREATE TABLE judgement_key (
    delivery_id bigint NOT NULL,
    natural_key text COLLATE "C" NOT NULL,
    -- Rows that were found; of a key that occurs once, one.
    record_count bigint NOT NULL,
    -- The first and the last chunk with such rows, and how many are in it.
    first_chunk integer NOT NULL,
    first_count integer NOT NULL,
    last_chunk integer NOT NULL,
    last_count integer NOT NULL,
    -- Whether its records are named by line.
    is_listed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (delivery_id, natural_key)
);
CREATE INDEX judgement_key_listed ON judgement_key (delivery_id) WHERE is_listed;
CREATE INDEX judgement_key_first_in_chunk ON judgement_key (delivery_id, first_chunk) WHERE first_count > 1;
CREATE INDEX judgement_key_last_in_chunk ON judgement_key (delivery_id, last_chunk) WHERE last_count > 1;

-- Of a delivery all of whose copies are known: by what rule they go, and what is left of the delivery so far.
CREATE TABLE judgement_decision (
    delivery_id bigint PRIMARY KEY,
    rule text NOT NULL,
    -- Rows with a key that occurs more than once: all of them, and those that are settled.
    copy_count bigint NOT NULL,
    settled_count bigint NOT NULL DEFAULT 0,
    -- Whether the chunks that have to be read again are known.
    are_readings_known boolean NOT NULL DEFAULT false,
    -- The first chunk whose copies are not settled; null until the first are.
    next_chunk integer,
    -- Count, sums and blocks of the rows that are there.
    record_count bigint NOT NULL,
    sums jsonb NOT NULL,
    first_block bigint,
    last_block bigint
);

-- A chunk that has to be read again, and what came of it.
CREATE TABLE judgement_reading (
    delivery_id bigint NOT NULL,
    chunk_index integer NOT NULL,
    -- Keys of which lines are named, and the first copies are in this chunk.
    listed_keys text[] NOT NULL,
    is_read boolean NOT NULL DEFAULT false,
    -- Keys of which one copy of several in this chunk is to be stored anew, and that were not found in it.
    missing_keys text[] NOT NULL DEFAULT '{}',
    -- The rows to be stored anew, as COPY takes them.
    copy_columns text[] NOT NULL DEFAULT '{}',
    copy_text bytea NOT NULL DEFAULT '',
    PRIMARY KEY (delivery_id, chunk_index)
);

-- The copies in such a chunk that may be named by line.
CREATE TABLE judgement_named (
    delivery_id bigint NOT NULL,
    chunk_index integer NOT NULL,
    position integer NOT NULL,
    natural_key text NOT NULL,
    line bigint NOT NULL,
    byte_offset bigint NOT NULL,
    raw bytea NOT NULL,
    byte_length bigint NOT NULL,
    PRIMARY KEY (delivery_id, chunk_index, position)
);
