-- The ledger and everything that follows from it. Row tables are made from the entities by `dataharvest migrate`.

CREATE TABLE business_set (
    tenant        text COLLATE "C" NOT NULL,
    business_date date NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, business_date)
);

CREATE TABLE delivery (
    delivery_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A key that says nothing readable still has a row, rejected; then these three may be missing.
    tenant           text COLLATE "C" NOT NULL,
    business_date    date,
    entity           text COLLATE "C",
    bucket           text NOT NULL,
    object_key       text COLLATE "C" NOT NULL,
    object_identity  text COLLATE "C" NOT NULL,
    version_id       text,
    etag             text NOT NULL,
    last_modified    timestamptz NOT NULL,
    size_bytes       bigint NOT NULL,
    state            text NOT NULL CHECK (state IN ('registered', 'waiting', 'splitting', 'sealed', 'complete',
                                                    'repeat', 'rejected', 'abandoned', 'superseded')),
    -- Fixed at registration, so that every splitter cuts the same chunks.
    chunk_bytes      integer NOT NULL,
    splitter_version integer NOT NULL,
    contract_version integer NOT NULL DEFAULT 0,
    lease_owner      text,
    lease_epoch      bigint NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    next_try_at      timestamptz,
    -- Why the delivery is rejected or waiting: {"rule", "message", "line", "column", …}.
    failure          jsonb,
    ignored_columns  text[] NOT NULL DEFAULT '{}',
    -- Known at sealing; offsets count in the decompressed content.
    content_sha256   bytea,
    content_start    bigint,
    content_end      bigint,
    chunk_count      integer,
    repeat_of        bigint REFERENCES delivery,
    -- Known at completion.
    record_count     bigint,
    persisted_count  bigint,
    quarantined_count bigint,
    duplicate_count  bigint,
    accepted_count   bigint,
    registered_at    timestamptz NOT NULL DEFAULT now(),
    sealed_at        timestamptz,
    completed_at     timestamptz,
    -- The splitter's effect: the fact that the delivery was sealed or ended, sent to `progress`.
    announced_at     timestamptz,
    UNIQUE (bucket, object_key, object_identity),
    CHECK (state = 'rejected' OR (business_date IS NOT NULL AND entity IS NOT NULL))
);
CREATE INDEX delivery_of_set ON delivery (tenant, business_date, entity);
CREATE INDEX delivery_to_split ON delivery (registered_at) WHERE state IN ('registered', 'waiting', 'splitting');
CREATE INDEX delivery_to_announce ON delivery (delivery_id)
    WHERE announced_at IS NULL AND state NOT IN ('registered', 'waiting', 'splitting');

CREATE TABLE chunk (
    delivery_id       bigint NOT NULL REFERENCES delivery,
    chunk_index       integer NOT NULL,
    tenant            text COLLATE "C" NOT NULL,
    byte_offset       bigint NOT NULL,
    byte_length       bigint NOT NULL,
    first_line        bigint NOT NULL,
    sha256            bytea NOT NULL,
    record_count      integer NOT NULL,
    persisted_count   integer NOT NULL,
    quarantined_count integer NOT NULL,
    duplicate_count   integer NOT NULL DEFAULT 0,
    accepted_count    integer NOT NULL DEFAULT 0,
    topic_partition   integer NOT NULL,
    topic_offset      bigint NOT NULL,
    committed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (delivery_id, chunk_index),
    CONSTRAINT nothing_lost CHECK (record_count = persisted_count + quarantined_count + duplicate_count + accepted_count)
);

CREATE TABLE quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id   bigint NOT NULL REFERENCES delivery,
    chunk_index   integer NOT NULL,
    position      integer NOT NULL,
    tenant        text COLLATE "C" NOT NULL,
    line          bigint NOT NULL,
    byte_offset   bigint NOT NULL,
    byte_length   bigint NOT NULL,
    column_name   text,
    rule          text NOT NULL,
    message       text NOT NULL,
    raw           bytea NOT NULL,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'fixed', 'accepted')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (delivery_id, chunk_index, position)
);

CREATE TABLE set_version (
    set_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant         text COLLATE "C" NOT NULL,
    business_date  date NOT NULL,
    version        integer NOT NULL,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'blocked', 'published', 'cancelled')),
    -- Why it is blocked: {"rule", "message", …}.
    failure        jsonb,
    created_at     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz,
    UNIQUE (tenant, business_date, version),
    FOREIGN KEY (tenant, business_date) REFERENCES business_set
);

CREATE TABLE set_version_delivery (
    set_version_id bigint NOT NULL REFERENCES set_version,
    entity         text COLLATE "C" NOT NULL,
    delivery_id    bigint NOT NULL REFERENCES delivery,
    PRIMARY KEY (set_version_id, entity)
);

CREATE TABLE fact (
    set_version_id bigint NOT NULL REFERENCES set_version,
    name           text COLLATE "C" NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (set_version_id, name)
);

-- Effects: a row first, then the message, then sent_at. Whoever finds one unsent sends it again.
CREATE TABLE readiness (
    set_version_id bigint NOT NULL REFERENCES set_version,
    rule           text COLLATE "C" NOT NULL,
    decided_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at        timestamptz,
    PRIMARY KEY (set_version_id, rule)
);
CREATE INDEX readiness_unsent ON readiness (decided_at) WHERE sent_at IS NULL;

CREATE TABLE batch (
    set_version_id bigint NOT NULL REFERENCES set_version,
    rule           text COLLATE "C" NOT NULL,
    batch_index    integer NOT NULL,
    batch_count    integer NOT NULL,
    planned_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at        timestamptz,
    -- Values or outbound rows are committed.
    computed_at    timestamptz,
    -- Nothing is left to do: the values are there, or every outbound message is acknowledged.
    done_at        timestamptz,
    PRIMARY KEY (set_version_id, rule, batch_index)
);
CREATE INDEX batch_unsent ON batch (planned_at) WHERE sent_at IS NULL;

CREATE TABLE link (
    set_version_id      bigint NOT NULL REFERENCES set_version,
    client_reference    uuid NOT NULL,
    portfolio_reference uuid NOT NULL,
    account_number      text COLLATE "C" NOT NULL
);
CREATE INDEX link_of_version ON link USING brin (set_version_id);

-- Records without a counterpart; the first hundred of a kind by name, all by count in relation_report.
CREATE TABLE orphan (
    set_version_id bigint NOT NULL REFERENCES set_version,
    kind           text NOT NULL,
    reference      text NOT NULL
);
CREATE INDEX orphan_of_version ON orphan (set_version_id);

CREATE TABLE orphan_count (
    set_version_id bigint NOT NULL REFERENCES set_version,
    kind           text NOT NULL,
    record_count   bigint NOT NULL,
    PRIMARY KEY (set_version_id, kind)
);

CREATE TABLE value (
    set_version_id bigint NOT NULL REFERENCES set_version,
    transformer    text COLLATE "C" NOT NULL,
    logic_version  integer NOT NULL,
    batch_index    integer NOT NULL,
    reference      uuid NOT NULL,
    fields         jsonb NOT NULL
);
CREATE INDEX value_of_version ON value USING brin (set_version_id);

CREATE TABLE outbound (
    message_id     uuid NOT NULL PRIMARY KEY,
    set_version_id bigint NOT NULL REFERENCES set_version,
    tenant         text COLLATE "C" NOT NULL,
    business_date  date NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    reference      uuid NOT NULL,
    version        integer NOT NULL,
    supersedes     uuid,
    batch_index    integer NOT NULL,
    withdrawn      boolean NOT NULL,
    content_sha256 bytea NOT NULL,
    payload        text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    sent_at        timestamptz
);
CREATE UNIQUE INDEX outbound_of_key ON outbound (tenant, business_date, kind, reference, version);
CREATE INDEX outbound_unsent ON outbound (set_version_id, kind, batch_index) WHERE sent_at IS NULL;

CREATE TABLE dead_letter (
    topic          text NOT NULL,
    topic_partition integer NOT NULL,
    topic_offset   bigint NOT NULL,
    stage          text NOT NULL,
    rule           text NOT NULL,
    reason         text NOT NULL,
    failed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, topic_partition, topic_offset)
);

-- Messages that were in hand when a worker ended, and the workers that ran.
CREATE TABLE attempt (
    topic           text NOT NULL,
    topic_partition integer NOT NULL,
    topic_offset    bigint NOT NULL,
    attempt_count   integer NOT NULL,
    last_error      text,
    last_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, topic_partition, topic_offset)
);

CREATE TABLE worker_run (
    run_id        text PRIMARY KEY,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    found_dead_at timestamptz
);
