-- Contracts, manifests, control totals, duplicates, fairness.

CREATE TABLE contract (
    tenant     text COLLATE "C" NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    content    jsonb NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, version)
);

-- The sender's control totals; the newest readable one of a set counts.
CREATE TABLE manifest (
    manifest_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant          text COLLATE "C" NOT NULL,
    business_date   date NOT NULL,
    bucket          text NOT NULL,
    object_key      text COLLATE "C" NOT NULL,
    object_identity text COLLATE "C" NOT NULL,
    etag            text NOT NULL,
    last_modified   timestamptz NOT NULL,
    -- 'read' or 'rejected'; a rejected one says why and blocks nothing but itself.
    state           text NOT NULL CHECK (state IN ('read', 'rejected')),
    content         jsonb,
    failure         jsonb,
    registered_at   timestamptz NOT NULL DEFAULT now(),
    -- When the set was told.
    announced_at    timestamptz,
    -- When the set was first decided about with it.
    decided_at      timestamptz,
    UNIQUE (bucket, object_key, object_identity)
);
CREATE INDEX manifest_unannounced ON manifest (registered_at) WHERE announced_at IS NULL;
CREATE INDEX manifest_of_set ON manifest (tenant, business_date);

-- A tenant's work can be paused; nothing of it is split until it is resumed.
CREATE TABLE tenant_pause (
    tenant    text COLLATE "C" PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now(),
    reason    text NOT NULL DEFAULT ''
);

-- Exact sums of the money columns, {"amount": "123.4500"}, known at completion; SHA-256 of the object's own bytes, at sealing.
ALTER TABLE delivery ADD COLUMN sums jsonb;
ALTER TABLE delivery ADD COLUMN object_sha256 bytea;
-- When the rows of a superseded delivery were removed; its ledger rows stay.
ALTER TABLE delivery ADD COLUMN removed_at timestamptz;

-- Records that share a natural key within a delivery: the first hundred keys with the lines of their records.
CREATE TABLE duplicate_key (
    delivery_id  bigint NOT NULL REFERENCES delivery,
    tenant       text COLLATE "C" NOT NULL,
    natural_key  text COLLATE "C" NOT NULL,
    record_count integer NOT NULL,
    lines        bigint[] NOT NULL,
    PRIMARY KEY (delivery_id, natural_key)
);

-- Set-wise facts about a set that no version carries: what blocks or disputes it now, and whether it is late.
ALTER TABLE business_set ADD COLUMN problem jsonb;
ALTER TABLE business_set ADD COLUMN late_at timestamptz;

-- Between sealing and completion a delivery is judged: sums and duplicates are counted once, by one batch of work.
ALTER TABLE delivery DROP CONSTRAINT delivery_state_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_state_check CHECK (state IN (
    'registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete', 'repeat', 'rejected', 'abandoned', 'superseded'));
-- The judgement's effect: the message on `work`.
ALTER TABLE delivery ADD COLUMN judgement_sent_at timestamptz;
-- Fairness: whose chunks a splitter may send. `turn` rises with every lease of the tenant's, so that two splitters that look at
-- the same moment cannot both take one.
CREATE TABLE tenant_turn (
    tenant text COLLATE "C" PRIMARY KEY,
    turn   bigint NOT NULL
);
CREATE INDEX delivery_splitting ON delivery (tenant) WHERE state = 'splitting';
CREATE INDEX delivery_sealed ON delivery (tenant) WHERE state = 'sealed';
-- The largest offset by partition of the chunks that the last splitter sent, {"3": 1207}: once the group has passed them all, what
-- the ledger still lacks was lost. For the same reason a batch knows its message.
ALTER TABLE delivery ADD COLUMN sent_offsets jsonb NOT NULL DEFAULT '{}';
ALTER TABLE batch ADD COLUMN topic_partition integer;
ALTER TABLE batch ADD COLUMN topic_offset bigint;
CREATE INDEX batch_undone ON batch (set_version_id) WHERE sent_at IS NOT NULL AND done_at IS NULL;
CREATE INDEX set_version_open ON set_version (tenant) WHERE state = 'open';
-- Of duplicates without number only the first are kept as they are; one row stands for the others of a chunk.
ALTER TABLE quarantine ADD COLUMN record_count integer NOT NULL DEFAULT 1;
