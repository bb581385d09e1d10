-- How often in a row a delivery's splitter died without a chunk more in the ledger, and how many there were at the last lease.
ALTER TABLE delivery ADD COLUMN crash_count integer NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN chunks_at_lease integer NOT NULL DEFAULT 0;
