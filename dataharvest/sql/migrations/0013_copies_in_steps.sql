-- What copies of a natural key a large delivery holds is found slice by slice as well, and what of its chunks was read again is kept
-- from one step to the next. As the slices, it is gone once the delivery is judged, and whatever loses it has it found anew.
ALTER TABLE judgement_slice
    -- Rows of it with a suspected key, once they were looked for.
    ADD COLUMN copy_count bigint,
    -- Of the first slice, once it is decided what becomes of each copy: how many copies there are.
    ADD COLUMN decided_count bigint;

CREATE UNLOGGED TABLE judgement_copy (
    delivery_id bigint NOT NULL,
    -- Of the row, as long as the slices' layout is what it was.
    place tid NOT NULL,
    natural_key text COLLATE "C" NOT NULL,
    chunk_index integer,
    -- 'keep', 'quarantine', 'duplicate' (dropped), 'ambiguous' (only the bytes tell), 'replaced' (stored anew).
    fate text NOT NULL DEFAULT 'quarantine',
    -- Of a key that is named by line: the number of the copy, from 1.
    nth bigint
);
CREATE INDEX judgement_copy_in_chunk ON judgement_copy (delivery_id, chunk_index);

-- A chunk that was read again, and the rows that are stored anew for its winners, as COPY takes them.
CREATE UNLOGGED TABLE judgement_reading (
    delivery_id bigint NOT NULL,
    chunk_index integer NOT NULL,
    winner_keys text[] NOT NULL,
    copy_columns text[] NOT NULL,
    copy_text bytea NOT NULL,
    PRIMARY KEY (delivery_id, chunk_index)
);

-- The copies in such a chunk that may be named by line.
CREATE UNLOGGED TABLE judgement_named (
    delivery_id bigint NOT NULL,
    chunk_index integer NOT NULL,
    natural_key text NOT NULL,
    position integer NOT NULL,
    line bigint NOT NULL,
    byte_offset bigint NOT NULL,
    raw bytea NOT NULL,
    byte_length bigint NOT NULL
);
CREATE INDEX judgement_named_in_chunk ON judgement_named (delivery_id, chunk_index);
