-- Repair of quarantined records.

-- Raised by whatever changes a set's records, or how its values are computed, without a new delivery; a version stores the one
-- it was made from.
ALTER TABLE business_set ADD COLUMN edition integer NOT NULL DEFAULT 0;
ALTER TABLE set_version ADD COLUMN edition integer NOT NULL DEFAULT 0;
