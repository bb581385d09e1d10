-- Repair of quarantined records.

-- Raised by whatever changes a set's records, or how its values are computed, without a new delivery; a version stores the one
-- it was made from.
ALTER TABLE business_set ADD COLUMN edition integer NOT NULL DEFAULT 0;
ALTER TABLE set_version ADD COLUMN edition integer NOT NULL DEFAULT 0;

-- Of a fixed record: the natural key of its row, while it is one.
ALTER TABLE quarantine ADD COLUMN natural_key text COLLATE "C";
CREATE INDEX quarantine_open ON quarantine (tenant, delivery_id) WHERE state = 'open';

-- Everything that was ever done about an entry; the entry's own bytes stay as they came.
CREATE TABLE repair (
    repair_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quarantine_id    bigint NOT NULL REFERENCES quarantine ON DELETE CASCADE,
    tenant           text COLLATE "C" NOT NULL,
    action           text NOT NULL CHECK (action IN ('fix', 'accept', 'replay', 'drop')),
    who              text NOT NULL,
    why              text NOT NULL,
    repaired_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the records became.
    persisted_count  bigint NOT NULL,
    duplicate_count  bigint NOT NULL,
    accepted_count   bigint NOT NULL,
    content          bytea,
    contract_version integer,
    -- The delivery that replaced the repaired one.
    superseded_by    bigint REFERENCES delivery
);
CREATE INDEX repair_of_entry ON repair (quarantine_id);
CREATE INDEX repair_superseded_by ON repair (superseded_by) WHERE superseded_by IS NOT NULL;
