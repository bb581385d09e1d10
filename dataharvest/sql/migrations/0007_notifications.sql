-- Notifications and the calls of webhooks that follow from them.

-- An effect like every other: a row with the state it follows from, then the message on `notifications`, then sent_at.
CREATE TABLE notification (
    notification_id uuid PRIMARY KEY,
    tenant          text COLLATE "C" NOT NULL,
    business_date   date NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('set_ready', 'set_blocked', 'set_late')),
    version         integer,
    reason          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz
);
CREATE INDEX notification_unsent ON notification (created_at) WHERE sent_at IS NULL;

-- What a tenant's webhook has to be told, from `notifications`; where and with which secret is looked up when it is called.
CREATE TABLE webhook_call (
    notification_id uuid PRIMARY KEY,
    tenant          text COLLATE "C" NOT NULL,
    payload         text NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'given_up')),
    attempt_count   integer NOT NULL DEFAULT 0,
    queued_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_try_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A worker calls it now, and would be done by then.
    held_until      timestamptz,
    last_failure    text,
    ended_at        timestamptz
);
CREATE INDEX webhook_call_waiting ON webhook_call (tenant, next_try_at) WHERE state = 'waiting';

-- The span in which a delivery was registered, later the one in which it was sealed, and the one in which a version was made, while
-- traces are switched on: what follows from a row belongs to its trace, as what follows from a message belongs to its header's.
ALTER TABLE delivery ADD COLUMN traceparent text;
ALTER TABLE set_version ADD COLUMN traceparent text;
ALTER TABLE notification ADD COLUMN traceparent text;
