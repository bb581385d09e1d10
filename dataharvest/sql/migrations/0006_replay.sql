-- Replay: dead letters that can be sent again or laid aside, and ranges of topics that are read once more.

-- Where the letter itself lies, on the topic `dead-letters`; unknown of letters that an older version wrote.
ALTER TABLE dead_letter ADD COLUMN letter_partition integer;
ALTER TABLE dead_letter ADD COLUMN letter_offset bigint;
ALTER TABLE dead_letter ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded'));

-- What people did about a dead letter.
CREATE TABLE dead_letter_action (
    dead_letter_action_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic           text NOT NULL,
    topic_partition integer NOT NULL,
    topic_offset    bigint NOT NULL,
    action          text NOT NULL CHECK (action IN ('replayed', 'discarded')),
    by_whom         text NOT NULL,
    reason          text NOT NULL DEFAULT '',
    acted_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Where a replayed message is now.
    sent_partition  integer,
    sent_offset     bigint,
    FOREIGN KEY (topic, topic_partition, topic_offset) REFERENCES dead_letter
);
CREATE INDEX dead_letter_action_of_letter ON dead_letter_action (topic, topic_partition, topic_offset);

-- A range of a topic, or some deliveries' chunks from the bucket, that somebody sends once more; it can be interrupted and resumed.
CREATE TABLE replay (
    replay_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        text NOT NULL,
    -- What was asked for, as the command understood it.
    request      jsonb NOT NULL,
    by_whom      text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When it got to its end; null while it runs or waits to be resumed.
    ended_at     timestamptz,
    sent_count   bigint NOT NULL DEFAULT 0,
    sent_bytes   bigint NOT NULL DEFAULT 0
);

-- How far it is: of each partition, or of each delivery where it reads the bucket.
CREATE TABLE replay_part (
    replay_id   bigint NOT NULL REFERENCES replay,
    part        bigint NOT NULL,
    start_index bigint NOT NULL,
    stop_index  bigint NOT NULL,
    next_index  bigint NOT NULL,
    PRIMARY KEY (replay_id, part)
);
