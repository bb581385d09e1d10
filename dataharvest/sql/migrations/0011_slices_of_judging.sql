-- Judging in slices: the rows of a large delivery are counted some blocks of their table at a time.

-- What was counted of a delivery that is being judged. It is gone once the delivery is judged, and whatever loses it has the rows
-- counted anew: so it costs no WAL, and a base backup holds none of it.
CREATE UNLOGGED TABLE judgement_slice (
    delivery_id bigint NOT NULL,
    -- The blocks that were gone through, from the first to before the other.
    first_block bigint NOT NULL,
    stop_block bigint NOT NULL,
    -- The table's file and the start of the server: as long as both are the same, every row is where it was.
    layout text NOT NULL,
    record_count bigint NOT NULL,
    sums jsonb NOT NULL,
    -- The first and the last block in which there were rows.
    first_row_block bigint,
    last_row_block bigint,
    -- Hashes of the natural keys in order, eight bytes each, lowest byte first; and the places at which they are cut into parts by
    -- their value, the same values for every delivery.
    hashes bytea NOT NULL,
    cuts integer[] NOT NULL,
    -- Of the first slice: how many of the parts, in their order, were looked at, and which hashes occur more than once in them.
    merged_part_count integer NOT NULL DEFAULT 0,
    suspects bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (delivery_id, first_block)
);
-- Hashes can't be compressed, and what is not compressed can be read in part.
ALTER TABLE judgement_slice ALTER COLUMN hashes SET STORAGE EXTERNAL;
