-- What copies leave of a delivery is counted once more, and no worker of an older version ends a removal half way.

ALTER TABLE judgement_decision
    -- Whether all copies are settled, so that what is left is counted.
    ADD COLUMN are_copies_settled boolean NOT NULL DEFAULT false;

-- A worker from before 0015 that goes on after it knows nothing of a decision, and what is left of half a removal looks sound to it:
-- rows and ledger agree. 'forget' of a worker that knows it comes before 'complete'. The error is of no class that is taken for
-- bad input or an outage, so it ends the worker, and the delivery stays as it is.
CREATE FUNCTION refuse_half_a_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM judgement_decision WHERE delivery_id = NEW.delivery_id)
    THEN RAISE EXCEPTION USING MESSAGE = 'copies of delivery ' || NEW.delivery_id || ' are still being removed'; END IF; RETURN NEW; END
$$;
CREATE TRIGGER half_a_removal_is_refused BEFORE UPDATE OF state ON delivery
    FOR EACH ROW WHEN (NEW.judged_in_steps AND NEW.state = 'complete') EXECUTE FUNCTION refuse_half_a_removal();

-- Such a worker that finds copies names this column, in vain: it ends, where a value that is missing would have it reject the file.
ALTER TABLE judgement_copy RENAME COLUMN place TO row_place;

-- One that judges in slices names this column at each step.
ALTER TABLE judgement_slice RENAME COLUMN layout TO table_layout;

-- What is still to be read is found without a look at what was.
CREATE INDEX judgement_reading_to_read ON judgement_reading (delivery_id, chunk_index) WHERE NOT is_read;
