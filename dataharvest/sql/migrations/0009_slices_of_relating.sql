-- Relating in slices: each goes through the rows between two blocks of a table, so that a large set does not keep its workers busy
-- with one batch.

-- The blocks that a delivery's rows lie between, as they were when it was judged; unknown of older ones, and of those without rows.
ALTER TABLE delivery ADD COLUMN first_block bigint;
ALTER TABLE delivery ADD COLUMN last_block bigint;
-- Rows that a slice went through: all slices together must have seen every row of the version, and none twice.
ALTER TABLE batch ADD COLUMN record_count bigint;
-- The files of the tables that it went through: where one has become another, rows have moved.
ALTER TABLE batch ADD COLUMN table_files text;

-- Rows of these tables come by the hundred thousand, in a transaction that holds their version's row, and no version is ever deleted.
-- To look the version up for each of them took as long as all else that was done to it.
ALTER TABLE link DROP CONSTRAINT link_set_version_id_fkey;
ALTER TABLE value DROP CONSTRAINT value_set_version_id_fkey;
ALTER TABLE outbound DROP CONSTRAINT outbound_set_version_id_fkey;
