-- Who had which set computed again, by which logic, and why.
CREATE TABLE recompute (
    recompute_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant        text COLLATE "C" NOT NULL,
    business_date date NOT NULL,
    transformer   text NOT NULL,
    logic_version integer NOT NULL,
    -- The set's edition from then on: the first version of at least this edition is what came of it.
    edition       integer NOT NULL,
    who           text NOT NULL,
    why           text NOT NULL,
    recomputed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (tenant, business_date) REFERENCES business_set
);
CREATE INDEX recompute_of_set ON recompute (tenant, business_date);
